//! Where a request comes from. Everything that goes by addresses asks here.

use std::net::IpAddr;

use axum::http::Request;

/// The client: the other end of the connection, or who a trusted proxy says that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub(super) IpAddr);

/// The address of the client.
pub(super) fn address<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<From>().map(|From(address)| address.to_canonical())
}
