//! The names that this server answers to: of the control plane, of apps by their place below the domain, and of their own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use manifest_schema::label::split_host;
use platform::live::{Found, LiveTable};

use super::address::Hosts;
use super::api_error::ApiError;
use super::reply;

/// The longest name that DNS can hold.
const NAME_MAX: usize = 253;

/// What names mean now.
#[derive(Clone)]
pub(crate) struct Names {
    pub(super) hosts: Arc<Hosts>,
    pub(super) table: Arc<LiveTable>,
}

impl Names {
    /// The app whose own domain `host` is. A name of the server never is one.
    pub(super) fn by_domain(&self, host: &str) -> Option<Found> {
        if !self.table.has_domains() {
            return None;
        }
        let name = self.hosts.custom_domain(host)?;
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.table.find_by_domain(&name.to_ascii_lowercase());
        }
        self.table.find_by_domain(name)
    }

    /// What is at a label in front of the server's domain.
    pub(super) fn by_label(&self, label: &str) -> Option<Found> {
        let label = label.to_ascii_lowercase();
        let (app, branch) = split_host(&label);
        self.table.find_by_host(app, branch)
    }

    /// Whether something is served at `name`, or should be.
    fn knows(&self, name: &str) -> bool {
        match self.hosts.app_label(name) {
            Some(label) => self.by_label(label).is_some(),
            None => self.hosts.is_domain(name) || self.by_domain(name).is_some(),
        }
    }
}

/// Whether a proxy may have a certificate made for a name: 200, or 404. Anybody may ask, the answer is in memory, and it
/// tells no more than a request to that name would.
pub(super) async fn tls_allowed(State(names): State<Names>, uri: Uri) -> Result<Response<Body>, ApiError> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let name = pairs.filter_map(|pair| pair.strip_prefix("domain=")).next();
    let name = name.ok_or(ApiError::bad_request("ask for a name: ?domain=hello.example.com"))?;
    if name.len() <= NAME_MAX && names.knows(name) {
        return Ok(reply::text(StatusCode::OK, "ok\n"));
    }
    Err(ApiError::not_found("nothing is served at this name"))
}
