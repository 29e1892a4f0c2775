//! Where a request comes from. Everything that goes by addresses asks here.

use std::net::IpAddr;

use axum::http::Request;

/// The other end of the connection, as the listener knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub(super) IpAddr);

/// The address of the client: the other end of the connection, which behind a proxy is the proxy.
pub(super) fn address<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<From>().map(|From(address)| address.to_canonical())
}
