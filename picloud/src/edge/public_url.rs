//! The URLs under which users reach apps and the control plane.

use std::net::SocketAddr;
use std::sync::Arc;

use manifest_schema::name::AppName;

use crate::render::app_urls::{AppUrls, Base};

/// The public domain and URL of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublicUrl {
    /// The domain whose subdomains are apps.
    domain: Option<Arc<str>>,
    /// The configured URL, where it differs from the `Host` of requests.
    url: Option<Arc<str>>,
}

impl PublicUrl {
    pub(crate) fn new(domain: Option<&str>, url: Option<&str>) -> Self {
        Self { domain: domain.map(Arc::from), url: url.map(|url| url.trim_end_matches('/').into()) }
    }

    /// The URLs of an app for a client that sent its request to `host`, with TLS or without.
    pub(super) fn of_app(&self, host: &str, https: bool, app: &AppName) -> AppUrls {
        let base = match (&self.domain, self.url.as_deref()) {
            // Apps share the scheme and the port of the control plane.
            (Some(domain), url) => match url.and_then(|url| url.split_once("://")) {
                Some((scheme, authority)) => {
                    Base::Hosts { scheme: scheme.to_owned(), domain: Arc::from(authority) }
                }
                None => Base::Hosts { scheme: "https".to_owned(), domain: Arc::clone(domain) },
            },
            (None, Some(url)) => Base::Paths(url.to_owned()),
            (None, None) if https => Base::Paths(format!("https://{host}")),
            (None, None) => Base::Paths(format!("http://{host}")),
        };
        AppUrls::new(app.clone(), base)
    }

    /// The URL of the control plane of a node that listens at `address`. With a domain a proxy terminates TLS.
    pub(crate) fn of_control_plane(&self, address: SocketAddr) -> String {
        match (self.url.as_deref(), &self.domain) {
            (Some(url), _) => url.to_owned(),
            (None, Some(domain)) => format!("https://{domain}"),
            (None, None) => format!("http://{address}"),
        }
    }

    /// The URL of the server's domain, where it has one.
    pub(super) fn of_domain(&self) -> Option<String> {
        let domain = self.domain.as_ref()?;
        Some(self.url.as_deref().map_or_else(|| format!("https://{domain}"), str::to_owned))
    }
}
