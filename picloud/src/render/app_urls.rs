//! The URLs of apps.

use std::sync::Arc;

use manifest_schema::label::{app_label, branch_label, preview_host};
use manifest_schema::name::AppName;

/// The URLs of the branches of an app.
#[derive(Clone, Debug)]
pub(crate) struct AppUrls {
    app: AppName,
    base: Base,
}

/// The common part of the URLs.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// Apps are subdomains of a domain.
    Hosts { scheme: String, domain: Arc<str> },
    /// Apps are paths of a URL.
    Paths(String),
}

impl AppUrls {
    pub(crate) fn new(app: AppName, base: Base) -> Self {
        Self { app, base }
    }

    /// The URL of production, such as `http://pi:8080/hello/`.
    pub(crate) fn production(&self) -> String {
        match &self.base {
            Base::Hosts { scheme, domain } => format!("{scheme}://{}.{domain}/", app_label(&self.app)),
            Base::Paths(url) => format!("{url}/{}/", self.app),
        }
    }

    /// The URL of a preview.
    pub(crate) fn preview(&self, branch: &str) -> String {
        let label = branch_label(&self.app, branch);
        match &self.base {
            Base::Hosts { scheme, domain } => {
                format!("{scheme}://{}.{domain}/", preview_host(&self.app, &label))
            }
            Base::Paths(url) => format!("{url}/{}@{label}/", self.app),
        }
    }
}
