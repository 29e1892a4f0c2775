//! Where apps answer, as people reach them.

use std::sync::Arc;

use crate::words::push::Addresses;

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
    pub(super) fn addresses(&self, host: &str, https: bool, app: &str) -> Addresses {
        match (&self.domain, &self.url) {
            (Some(domain), url) => {
                let scheme = url
                    .as_deref()
                    .and_then(|url| url.split_once("://"))
                    .map_or("https", |(scheme, _)| scheme);
                Addresses {
                    production: format!("{scheme}://{app}.{domain}/"),
                    preview: format!("{scheme}://{{}}--{app}.{domain}/"),
                }
            }
            (None, url) => {
                let base = match url.as_deref() {
                    Some(url) => url.to_owned(),
                    None if https => format!("https://{host}"),
                    None => format!("http://{host}"),
                };
                Addresses { production: format!("{base}/{app}/"), preview: format!("{base}/{app}@{{}}/") }
            }
        }
    }
}
