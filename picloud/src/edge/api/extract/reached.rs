//! How a client has reached this server.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use manifest_schema::name::AppName;

use crate::edge::address::name_of;
use crate::edge::api::state::Api;
use crate::edge::forwarded::is_https;
use crate::edge::request;
use crate::words::addresses::Addresses;

/// The name by which the client has reached this server, with TLS or without.
pub(crate) struct ReachedBy {
    host: String,
    https: bool,
}

impl ReachedBy {
    /// The name, without the port.
    pub(crate) fn name(&self) -> &str {
        name_of(&self.host)
    }

    /// Where the app answers, for a client that reaches this server so.
    pub(crate) fn addresses(&self, api: &Api, app: &AppName) -> Addresses {
        api.public.addresses(&self.host, self.https, app)
    }
}

impl<S: Sync> FromRequestParts<S> for ReachedBy {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let host = request::host(&parts.uri, &parts.headers).to_owned();
        Ok(Self { host, https: is_https(&parts.headers) })
    }
}
