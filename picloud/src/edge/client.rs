//! Where a request comes from. Everything that goes by addresses asks here.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::Request;

/// The client: the other end of the connection, or who a trusted proxy says that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub(super) IpAddr);

/// The address of the client.
pub(super) fn address<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<From>().map(|From(address)| address.to_canonical())
}

/// What counts as one client: who has one address of IPv6 has a whole network of them.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
