//! The host by which a client reaches this server.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use manifest_schema::name::AppName;

use crate::edge::api::state::Api;
use crate::edge::forwarded::is_https;
use crate::edge::request;
use crate::edge::target::host_name;
use crate::render::app_urls::AppUrls;

/// The host and scheme by which the client reaches this server.
pub(crate) struct RequestedHost {
    host: String,
    https: bool,
}

impl RequestedHost {
    /// The name, without the port.
    pub(crate) fn name(&self) -> &str {
        host_name(&self.host)
    }

    /// The URLs of an app for this client.
    pub(crate) fn app_urls(&self, api: &Api, app: &AppName) -> AppUrls {
        api.public_url.of_app(&self.host, self.https, app)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestedHost {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let host = request::host(&parts.uri, &parts.headers).to_owned();
        Ok(Self { host, https: is_https(&parts.headers) })
    }
}
