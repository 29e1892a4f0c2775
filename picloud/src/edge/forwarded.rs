//! Who is behind a proxy: the client's address and scheme, taken from those alone who may say it.
//!
//! What a request says of itself in `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `Forwarded` counts
//! where the connection comes from a trusted proxy. From everybody else these headers are taken away, and the first of them
//! is set to the address of the connection: a script reads one right address there, with a proxy or without.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How Caddy says that it is configured by one of the Caddyfiles that ship.
const PICLOUD_PROXY: HeaderName = HeaderName::from_static("picloud-proxy");

/// How long an answer waits where [`Proxies::answers_too_early`]; the proxy needs some microseconds.
pub(super) const TOO_EARLY: Duration = Duration::from_millis(20);

/// An answer of so many bytes arrives as one piece, which no proxy cuts.
pub(super) const AT_ONCE_BYTES: u64 = 2048;

/// The word for no proxies at all.
const NOBODY: &str = "none";

/// The proxies that may say who their clients are: addresses and networks, such as `127.0.0.0/8, ::1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxies(Vec<Network>);

/// What a trusted proxy says in `X-Forwarded-For` is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("X-Forwarded-For is no list of addresses")]
pub(crate) struct NoAddressError;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    bits: u8,
}

impl Default for Proxies {
    /// Whoever is on this machine. A service that strangers can reach through it is one that its owner lets them reach.
    fn default() -> Self {
        Self(vec![
            Network { first: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
            Network { first: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
        ])
    }
}

impl Proxies {
    /// Makes the headers of a request that came from `peer` say no more of its client than is to be believed.
    ///
    /// # Errors
    /// A trusted proxy says what is no address: who the client is, nobody knows.
    pub(crate) fn settle(&self, peer: IpAddr, headers: &mut HeaderMap) -> Result<(), NoAddressError> {
        headers.remove(PICLOUD_PROXY);
        if !self.trusts(peer) {
            for name in [FORWARDED_PROTO, FORWARDED_HOST, header::FORWARDED] {
                headers.remove(name);
            }
            headers.insert(FORWARDED_FOR, written(peer.to_canonical()));
            return Ok(());
        }
        if let Some(client) = self.client_of(headers)? {
            headers.insert(FORWARDED_FOR, written(client));
        } else {
            headers.remove(FORWARDED_FOR);
        }
        Ok(())
    }

    /// Whether an answer can come before the proxy is ready for it.
    ///
    /// Caddy 2.6, which Debian 12 has, writes a body of a known length and then looks whether more of it comes. If the answer
    /// begins in between, that look fails, and Caddy cuts the answer off. Later ones do not, and say `Via`.
    pub(super) fn answers_too_early<B>(&self, peer: IpAddr, request: &Request<B>) -> bool {
        let headers = request.headers();
        headers.contains_key(PICLOUD_PROXY)
            && !headers.contains_key(header::VIA)
            && headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
            && request.version() <= Version::HTTP_11
            && self.trusts(peer)
    }

    /// The last address of the list that is no proxy's: what stands before it, the client can have made up. `None`: there is none.
    fn client_of(&self, headers: &HeaderMap) -> Result<Option<IpAddr>, NoAddressError> {
        let said = headers.get_all(FORWARDED_FOR).iter().rev();
        let parts = said.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')).map(str::trim);
        let mut last = None;
        for part in parts.filter(|part| !part.is_empty()) {
            let address = address_of(part).ok_or(NoAddressError)?;
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

/// The address of the client, whose connection came from `peer`; of headers that are settled.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let said = headers.get(FORWARDED_FOR).and_then(|address| address.to_str().ok());
    said.and_then(|address| address.parse().ok()).unwrap_or(peer)
}

/// Whether the client speaks TLS with the proxy; of headers that are settled.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// An address as proxies write it: with a port or without.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn written(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let same = |first: u128, address: u128, width: u32| {
            let rest = width - u32::from(self.bits);
            rest == width || (first ^ address) >> rest == 0
        };
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                same(first.to_bits().into(), address.to_bits().into(), 32)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => same(first.to_bits(), address.to_bits(), 128),
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

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == NOBODY {
            return Ok(Self(Vec::new()));
        }
        let networks = text.split(',').map(|network| {
            let network = network.trim();
            network.parse().map_err(|()| {
                format!("`{network}` is neither an address nor a network such as 10.0.0.0/8; write `{NOBODY}` for no proxies")
            })
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NOBODY);
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

    /// What is left of the headers, by name and value.
    fn settled(proxies: &str, peer: &str, headers: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        proxies.parse::<Proxies>().unwrap().settle(peer.parse().unwrap(), &mut map).unwrap();
        map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn one(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn strangers_say_nothing_of_themselves() {
        let lies = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bank.example"),
            ("forwarded", "for=6.6.6.6"),
        ];
        for peer in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(settled("127.0.0.0/8", peer, &lies), [one("x-forwarded-for", "192.0.2.1")]);
        }
        assert_eq!(settled("none", "127.0.0.1", &lies), [one("x-forwarded-for", "127.0.0.1")]);
    }

    #[test]
    fn a_proxy_is_believed() {
        let said = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
        for peer in ["127.0.0.1", "::ffff:127.9.9.9", "::1"] {
            assert_eq!(settled("127.0.0.0/8, ::1", peer, &said), said.map(|(name, value)| one(name, value)));
            assert_eq!(settled("127.0.0.0/8, ::1", peer, &[]), []);
        }
    }

    #[test]
    fn of_a_list_the_last_that_is_no_proxy_counts() {
        let client = |lists: &[&'static str]| {
            let headers: Vec<_> = lists.iter().map(|list| ("x-forwarded-for", *list)).collect();
            settled("10.0.0.0/8", "10.0.0.1", &headers).remove(0).1
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
    fn what_is_no_address_is_nobody() {
        let proxies: Proxies = "10.0.0.0/8".parse().unwrap();
        let peer = "10.0.0.1".parse().unwrap();
        for wrong in
            ["unknown", "6.6.6.6, what", "what, 10.1.1.1", "1.2.3", "1.2.3.4.5", "2001:db8::1::2", "\u{e9}"]
        {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_FOR, HeaderValue::from_bytes(wrong.as_bytes()).unwrap());
            assert_eq!(proxies.settle(peer, &mut headers), Err(NoAddressError), "{wrong}");
            // Of a stranger it does not matter what it says.
            assert_eq!(proxies.settle("192.0.2.7".parse().unwrap(), &mut headers), Ok(()));
            assert_eq!(headers[FORWARDED_FOR], "192.0.2.7");
        }
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static(" "));
        assert_eq!((proxies.settle(peer, &mut headers), headers.is_empty()), (Ok(()), true));
    }

    #[test]
    fn networks_are_read_and_written() {
        for text in ["127.0.0.0/8,::1/128", "10.1.0.0/16", "none", "0.0.0.0/0", "fd00::/8"] {
            assert_eq!(text.parse::<Proxies>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.0/8, ::1".parse(), Ok(Proxies::default()));
        for wrong in ["", "a", "10.0.0.0/33", "::1/129", "10.0.0.0/-1", "127.0.0.1,"] {
            assert!(wrong.parse::<Proxies>().is_err(), "{wrong}");
        }
    }
}
