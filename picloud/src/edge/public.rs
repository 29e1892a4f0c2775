//! Where apps answer, as people reach them.

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
            (Some(domain), url) => {
                let scheme = url.and_then(|url| url.split_once("://")).map_or("https", |(scheme, _)| scheme);
                Base::Hosts { scheme: scheme.to_owned(), domain: Arc::clone(domain) }
            }
            (None, Some(url)) => Base::Paths(url.to_owned()),
            (None, None) if https => Base::Paths(format!("https://{host}")),
            (None, None) => Base::Paths(format!("http://{host}")),
        };
        Addresses::new(app.clone(), base)
    }
}
