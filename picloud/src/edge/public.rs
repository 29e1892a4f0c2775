//! Where apps answer, as people reach them.

use std::net::SocketAddr;
use std::sync::Arc;

use manifest_schema::name::AppName;

use crate::words::addresses::{Addresses, Base};

/// What addresses of apps are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Public {
    /// The domain whose subdomains are apps.
    domain: Option<Arc<str>>,
    /// The URL that people use, where it is not the one that a request shows.
    url: Option<Arc<str>>,
}

impl Public {
    pub(crate) fn new(domain: Option<&str>, url: Option<&str>) -> Self {
        Self { domain: domain.map(Arc::from), url: url.map(|url| url.trim_end_matches('/').into()) }
    }

    /// Where an app answers, as whoever sent a request to `host` reaches it, with TLS or without.
    pub(super) fn addresses(&self, host: &str, https: bool, app: &AppName) -> Addresses {
        let base = match (&self.domain, self.url.as_deref()) {
            // Apps are beside the control plane, at its port too.
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
        Addresses::new(app.clone(), base)
    }

    /// The URL of the control plane of a node that listens at `address`. At a domain it is a proxy's, which has the certificate.
    pub(crate) fn control(&self, address: SocketAddr) -> String {
        match (self.url.as_deref(), &self.domain) {
            (Some(url), _) => url.to_owned(),
            (None, Some(domain)) => format!("https://{domain}"),
            (None, None) => format!("http://{address}"),
        }
    }

    /// The same where it is not the address that a client sees.
    pub(super) fn at_a_domain(&self) -> Option<String> {
        let domain = self.domain.as_ref()?;
        Some(self.url.as_deref().map_or_else(|| format!("https://{domain}"), str::to_owned))
    }
}
