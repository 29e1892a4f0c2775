//! Where an app answers, as people are told.

use std::sync::Arc;

use manifest_schema::label::{app_label, branch_label, preview_host};
use manifest_schema::name::AppName;

/// Where the branches of one app answer.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    app: AppName,
    base: Base,
}

/// What addresses begin with.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// Apps are names below a domain.
    Hosts { scheme: String, domain: Arc<str> },
    /// Apps are paths below a URL.
    Paths(String),
}

impl Addresses {
    pub(crate) fn new(app: AppName, base: Base) -> Self {
        Self { app, base }
    }

    /// Where production answers, such as `http://pi:8080/hello/`.
    pub(crate) fn production(&self) -> String {
        match &self.base {
            Base::Hosts { scheme, domain } => format!("{scheme}://{}.{domain}/", app_label(&self.app)),
            Base::Paths(url) => format!("{url}/{}/", self.app),
        }
    }

    /// Where another branch answers.
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
