//! The address and scheme of a client of a proxy.
//!
//! `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `Forwarded` are trusted on connections from trusted proxies only. From all
//! other peers they are removed, and `X-Forwarded-For` is set to the address of the peer: scripts read one trustworthy address there,
//! with a proxy or without.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The header that Caddy sends with one of the Caddyfiles shipped here.
const PICLOUD_PROXY: HeaderName = HeaderName::from_static("picloud-proxy");

/// How long to delay a response that [`TrustedProxies::may_race_response`]; the proxy needs some microseconds.
pub(super) const CADDY_RACE_DELAY: Duration = Duration::from_millis(20);

/// The size up to which a response arrives in one read and is not truncated.
pub(super) const SINGLE_READ_BYTES: u64 = 2048;

/// The setting for no proxies.
const NONE: &str = "none";

/// The proxies whose forwarding headers are trusted: addresses and networks, such as `127.0.0.0/8, ::1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedProxies(Vec<Network>);

/// The `X-Forwarded-For` of a trusted proxy has an entry that is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid X-Forwarded-For header: not a list of addresses")]
pub(crate) struct InvalidForwardedFor;

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    bits: u8,
}

impl Default for TrustedProxies {
    /// This machine: a local service that forwards requests of others is under the operator's control.
    fn default() -> Self {
        Self(vec![
            Network { first: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
            Network { first: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
        ])
    }
}

impl TrustedProxies {
    /// Reduces the forwarding headers of a request from `peer` to what is trusted; `X-Forwarded-For` becomes the address of the client.
    ///
    /// # Errors
    /// A trusted proxy sent an invalid `X-Forwarded-For`, so the client is unknown.
    pub(crate) fn resolve_client(
        &self,
        peer: IpAddr,
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidForwardedFor> {
        headers.remove(PICLOUD_PROXY);
        if !self.trusts(peer) {
            for name in [FORWARDED_PROTO, FORWARDED_HOST, header::FORWARDED] {
                headers.remove(name);
            }
            headers.insert(FORWARDED_FOR, header_value(peer.to_canonical()));
            return Ok(());
        }
        if let Some(client) = self.client_of(headers)? {
            headers.insert(FORWARDED_FOR, header_value(client));
        } else {
            headers.remove(FORWARDED_FOR);
        }
        Ok(())
    }

    /// Whether an early response can race with the proxy.
    ///
    /// Caddy 2.6 (Debian 12) writes a body of known length and then checks for more of it. A response that begins in between makes the check
    /// fail, and Caddy truncates it. Later versions do not, and send `Via`.
    pub(super) fn may_race_response<B>(&self, peer: IpAddr, request: &Request<B>) -> bool {
        let headers = request.headers();
        headers.contains_key(PICLOUD_PROXY)
            && !headers.contains_key(header::VIA)
            && headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
            && request.version() <= Version::HTTP_11
            && self.trusts(peer)
    }

    /// The last address of the list that is not a trusted proxy; the client can have forged the entries before it. `None` for an empty list.
    fn client_of(&self, headers: &HeaderMap) -> Result<Option<IpAddr>, InvalidForwardedFor> {
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let parts = values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')).map(str::trim);
        let mut last = None;
        for part in parts.filter(|part| !part.is_empty()) {
            let address = parse_address(part).ok_or(InvalidForwardedFor)?;
            last = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        Ok(last)
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(peer))
    }
}

/// The address of the client, from resolved headers.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let client = headers.get(FORWARDED_FOR).and_then(|address| address.to_str().ok());
    client.and_then(|address| address.parse().ok()).unwrap_or(peer).to_canonical()
}

/// Whether the client uses TLS, from resolved headers.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Parses an address with an optional port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn header_value(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let matches = |first: u128, address: u128, width: u32| {
            let host_bits = width - u32::from(self.bits);
            host_bits == width || (first ^ address) >> host_bits == 0
        };
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                matches(first.to_bits().into(), address.to_bits().into(), 32)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => matches(first.to_bits(), address.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(drop)?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse::<u8>().map_err(drop))?;
        if bits > width { Err(()) } else { Ok(Self { first, bits }) }
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == NONE {
            return Ok(Self(Vec::new()));
        }
        let networks = text.split(',').map(|network| {
            let network = network.trim();
            network.parse().map_err(|()| {
                format!("`{network}` is neither an address nor a network such as 10.0.0.0/8; use `{NONE}` for no proxies")
            })
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}/{}", network.first, network.bits)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resolved headers, by name and value.
    fn resolved(
        proxies: &str,
        peer: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        proxies.parse::<TrustedProxies>().unwrap().resolve_client(peer.parse().unwrap(), &mut map).unwrap();
        map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn one(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn headers_of_untrusted_peer_are_replaced() {
        let forged = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bank.example"),
            ("forwarded", "for=6.6.6.6"),
        ];
        for peer in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(resolved("127.0.0.0/8", peer, &forged), [one("x-forwarded-for", "192.0.2.1")]);
        }
        assert_eq!(resolved("none", "127.0.0.1", &forged), [one("x-forwarded-for", "127.0.0.1")]);
    }

    #[test]
    fn headers_of_trusted_proxy_are_kept() {
        let sent = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
        for peer in ["127.0.0.1", "::ffff:127.9.9.9", "::1"] {
            assert_eq!(resolved("127.0.0.0/8, ::1", peer, &sent), sent.map(|(name, value)| one(name, value)));
            assert_eq!(resolved("127.0.0.0/8, ::1", peer, &[]), []);
        }
    }

    #[test]
    fn client_is_last_address_that_is_no_trusted_proxy() {
        let client = |lists: &[&'static str]| {
            let headers: Vec<_> = lists.iter().map(|list| ("x-forwarded-for", *list)).collect();
            resolved("10.0.0.0/8", "10.0.0.1", &headers).remove(0).1
        };
        assert_eq!(client(&["6.6.6.6, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(&["6.6.6.6, 192.0.2.1, 10.1.1.1"]), "192.0.2.1");
        assert_eq!(client(&["6.6.6.6", "192.0.2.1", "10.1.1.1"]), "192.0.2.1");
        assert_eq!(client(&["10.2.2.2, 10.1.1.1"]), "10.2.2.2");
        assert_eq!(client(&["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(client(&["[2001:db8::1]:4711, [2001:db8::2]"]), "2001:db8::2");
        assert_eq!(client(&["what, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client(&["192.0.2.1, , "]), "192.0.2.1");
    }

    #[test]
    fn invalid_address_of_trusted_proxy_is_rejected() {
        let proxies: TrustedProxies = "10.0.0.0/8".parse().unwrap();
        let peer = "10.0.0.1".parse().unwrap();
        for wrong in
            ["unknown", "6.6.6.6, what", "what, 10.1.1.1", "1.2.3", "1.2.3.4.5", "2001:db8::1::2", "\u{e9}"]
        {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_FOR, HeaderValue::from_bytes(wrong.as_bytes()).unwrap());
            assert_eq!(proxies.resolve_client(peer, &mut headers), Err(InvalidForwardedFor), "{wrong}");
            // An untrusted peer's header does not matter.
            assert_eq!(proxies.resolve_client("192.0.2.7".parse().unwrap(), &mut headers), Ok(()));
            assert_eq!(headers[FORWARDED_FOR], "192.0.2.7");
        }
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static(" "));
        assert_eq!((proxies.resolve_client(peer, &mut headers), headers.is_empty()), (Ok(()), true));
    }

    #[test]
    fn networks_round_trip() {
        for text in ["127.0.0.0/8,::1/128", "10.1.0.0/16", "none", "0.0.0.0/0", "fd00::/8"] {
            assert_eq!(text.parse::<TrustedProxies>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.0/8, ::1".parse(), Ok(TrustedProxies::default()));
        for wrong in ["", "a", "10.0.0.0/33", "::1/129", "10.0.0.0/-1", "127.0.0.1,"] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
    }
}
