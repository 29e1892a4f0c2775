//! Addresses as people write them: whole, as a port, or with the name of this machine that needs no looking up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::settings::USUAL_ADDRESS;

/// An address to listen on: `127.0.0.1:8080`, `localhost:8080`, `:8080` for all addresses of this machine, or `8080` for the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress(pub(crate) SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(format!("write {} without {scheme}://", rest.trim_end_matches('/')));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(SocketAddr::new(USUAL_ADDRESS.ip(), port(text)?)));
        }
        parse(text, None).map(Self)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address of a DNS server, at port 53 where no port is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DnsAddress(pub(crate) SocketAddr);

impl FromStr for DnsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, Some(53)).map(Self)
    }
}

fn parse(text: &str, usual_port: Option<u16>) -> Result<SocketAddr, String> {
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return match usual_port {
            Some(port) => Ok(SocketAddr::new(ip, port)),
            None => Err(format!("a port is missing; write {}", SocketAddr::new(ip, USUAL_ADDRESS.port()))),
        };
    }
    let Some((host, number)) = text.rsplit_once(':') else {
        return Err(match text.eq_ignore_ascii_case("localhost") {
            true => format!("a port is missing; write localhost:{}", USUAL_ADDRESS.port()),
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
                    "{host} is no address; write one such as 127.0.0.1:{port}, or 0.0.0.0:{port} for all of this machine"
                ));
            }
        },
    };
    Ok(SocketAddr::new(ip, port))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{text} is no port; they go from 0 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<String, String> {
        text.parse().map(|ListenAddress(address)| address.to_string())
    }

    #[test]
    fn address_is_what_people_mean() {
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
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (text, words) in [
            ("", "write an address with a port, such as 127.0.0.1:8080"),
            ("http://localhost:8080/", "write localhost:8080 without http://"),
            ("0.0.0.0", "a port is missing; write 0.0.0.0:8080"),
            ("::1", "a port is missing; write [::1]:8080"),
            ("localhost", "a port is missing; write localhost:8080"),
            ("99999", "99999 is no port; they go from 0 to 65535"),
            ("127.0.0.1:x", "x is no port; they go from 0 to 65535"),
            ("127.0.0.1:", " is no port; they go from 0 to 65535"),
            ("fe80::1:2:3:4:5:6:8080", "write an IPv6 address in brackets: [fe80::1:2:3:4:5:6]:8080"),
            (
                "pi.local:80",
                "pi.local is no address; write one such as 127.0.0.1:80, or 0.0.0.0:80 for all of this machine",
            ),
        ] {
            assert_eq!(listen(text), Err(words.to_owned()), "{text}");
        }
    }

    #[test]
    fn dns_server_is_at_its_usual_port() {
        let dns = |text: &str| text.parse().map(|DnsAddress(address)| address.to_string());
        assert_eq!(dns("192.168.1.1"), Ok("192.168.1.1:53".to_owned()));
        assert_eq!(dns("[fe80::1]:5353"), Ok("[fe80::1]:5353".to_owned()));
        assert!(dns("dns.lan").is_err());
    }
}
