//! The IP address of the client, for the audit log and for rate limits.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::Request;

/// The request extension with the client's address: the peer, or what a trusted proxy reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientIp(pub(super) IpAddr);

/// The address of the client of a request.
pub(super) fn client_ip<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<ClientIp>().map(|ClientIp(address)| address.to_canonical())
}

/// The network that counts as one client: an IPv6 client usually owns a whole /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
