//! Listen addresses and DNS server addresses on the command line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::settings::DEFAULT_ADDRESS;

/// A listen address: `127.0.0.1:8080`, `localhost:8080`, `:8080` for all addresses of this machine, or `8080` for 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress(pub(crate) SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(format!("write {} without {scheme}://", rest.trim_end_matches('/')));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(SocketAddr::new(DEFAULT_ADDRESS.ip(), port(text)?)));
        }
        parse(text, None).map(Self)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address of a DNS server. The default port is 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DnsAddress(pub(crate) SocketAddr);

impl FromStr for DnsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, Some(53)).map(Self)
    }
}

fn parse(text: &str, default_port: Option<u16>) -> Result<SocketAddr, String> {
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return match default_port {
            Some(port) => Ok(SocketAddr::new(ip, port)),
            None => Err(format!("a port is missing; write {}", SocketAddr::new(ip, DEFAULT_ADDRESS.port()))),
        };
    }
    let Some((host, number)) = text.rsplit_once(':') else {
        return Err(match text.eq_ignore_ascii_case("localhost") {
            true => format!("a port is missing; write localhost:{}", DEFAULT_ADDRESS.port()),
            false => "write an address with a port, such as 127.0.0.1:8080".to_owned(),
        });
    };
    let port = port(number)?;
    let ip = match host {
        "" | "*" => Ipv4Addr::UNSPECIFIED.into(),
        _ if host.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.into(),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse() {
            Ok(IpAddr::V6(_)) if !host.starts_with('[') => {
                return Err(format!("write an IPv6 address in brackets: [{host}]:{port}"));
            }
            Ok(ip) => ip,
            Err(_) => {
                return Err(format!(
                    "{host} is not an IP address; write 127.0.0.1:{port}, or 0.0.0.0:{port} for all addresses of this machine"
                ));
            }
        },
    };
    Ok(SocketAddr::new(ip, port))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("invalid port `{text}`; ports are 0 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<String, String> {
        text.parse().map(|ListenAddress(address)| address.to_string())
    }

    #[test]
    fn listen_address_has_short_forms() {
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::]:0", "[::]:0"),
        ] {
            assert_eq!(listen(text), Ok(address.to_owned()), "{text}");
        }
    }

    #[test]
    fn invalid_address_is_rejected_with_a_suggestion() {
        for (text, message) in [
            ("", "write an address with a port, such as 127.0.0.1:8080"),
            ("http://localhost:8080/", "write localhost:8080 without http://"),
            ("0.0.0.0", "a port is missing; write 0.0.0.0:8080"),
            ("::1", "a port is missing; write [::1]:8080"),
            ("localhost", "a port is missing; write localhost:8080"),
            ("99999", "invalid port `99999`; ports are 0 to 65535"),
            ("127.0.0.1:x", "invalid port `x`; ports are 0 to 65535"),
            ("127.0.0.1:", "invalid port ``; ports are 0 to 65535"),
            ("fe80::1:2:3:4:5:6:8080", "write an IPv6 address in brackets: [fe80::1:2:3:4:5:6]:8080"),
            (
                "pi.local:80",
                "pi.local is not an IP address; write 127.0.0.1:80, or 0.0.0.0:80 for all addresses of this machine",
            ),
        ] {
            assert_eq!(listen(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn dns_server_has_a_default_port() {
        let dns = |text: &str| text.parse().map(|DnsAddress(address)| address.to_string());
        assert_eq!(dns("192.168.1.1"), Ok("192.168.1.1:53".to_owned()));
        assert_eq!(dns("[fe80::1]:5353"), Ok("[fe80::1]:5353".to_owned()));
        assert!(dns("dns.lan").is_err());
    }
}
