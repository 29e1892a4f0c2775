//! Looks up the app of a host name: a label in front of the server's domain, or a custom domain.

use std::sync::Arc;

use manifest_schema::label::split_host;
use platform::live::{LiveState, LiveTable};

use super::target::Hosts;

/// The host names of the server and the apps that are live.
#[derive(Clone)]
pub(crate) struct AppLookup {
    pub(super) hosts: Arc<Hosts>,
    pub(super) table: Arc<LiveTable>,
}

impl AppLookup {
    /// The app whose custom domain `host` is.
    pub(super) fn by_domain(&self, host: &str) -> Option<LiveState> {
        if !self.table.has_domains() {
            return None;
        }
        let name = self.hosts.custom_domain(host)?;
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.table.find_by_domain(&name.to_ascii_lowercase());
        }
        self.table.find_by_domain(name)
    }

    /// The app or branch of a label in front of the server's domain.
    pub(super) fn by_label(&self, label: &str) -> Option<LiveState> {
        let label = label.to_ascii_lowercase();
        let (app, branch) = split_host(&label);
        self.table.find_by_host(app, branch)
    }
}
