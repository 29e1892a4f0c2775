//! The names that this server answers to: of the control plane, of apps by their place below the domain, and of their own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use manifest_schema::label::split_host;
use platform::certificates::{CertificateGrant, PreviewCertificates};
use platform::live::{Found, LiveTable};
use platform::repository::AppId;

use super::address::Hosts;
use super::api_error::ApiError;
use super::reply;
use crate::words::status::no_certificate;

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

    /// What is served at `name`, or should be.
    fn certified(&self, name: &str) -> Certified {
        let Some(label) = self.hosts.app_label(name) else {
            let is_known = self.hosts.is_domain(name) || self.by_domain(name).is_some();
            return if is_known { Certified::Always } else { Certified::Never };
        };
        let is_preview = split_host(&label.to_ascii_lowercase()).1.is_some();
        match self.by_label(label) {
            Some(Found::Live(live)) if is_preview => {
                Certified::Preview(AppId::from_uuid(live.revision.app_id()))
            }
            Some(Found::Unserved | Found::Stopped) if is_preview => Certified::Never,
            Some(_) => Certified::Always,
            None => Certified::Never,
        }
    }
}

/// Whether there can be a certificate for a name.
enum Certified {
    /// It is the server's, or that of an app in production.
    Always,
    /// It is a preview's, of which there are so many a week.
    Preview(AppId),
    /// Nothing is served there.
    Never,
}

/// What is asked for certificates.
#[derive(Clone)]
pub(super) struct TlsNames {
    pub(super) names: Names,
    pub(super) certificates: PreviewCertificates,
}

/// Whether a proxy can have a certificate made for a name: 200, 404 where nothing is served there, or 429. Anybody can ask. The answer is in
/// memory but for previews that were not asked for before, and it tells no more than a request to that name would.
pub(super) async fn tls_allowed(State(tls): State<TlsNames>, uri: Uri) -> Result<Response<Body>, ApiError> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let name = pairs.filter_map(|pair| pair.strip_prefix("domain=")).next();
    let name = name.ok_or(ApiError::bad_request("ask for a name: ?domain=hello.example.com"))?;
    let nothing = || ApiError::not_found("nothing is served at this name");
    if name.len() > NAME_MAX {
        return Err(nothing());
    }
    match tls.names.certified(name) {
        Certified::Always => {}
        Certified::Never => return Err(nothing()),
        Certified::Preview(app) => match tls.certificates.grant(app, &name.to_ascii_lowercase()).await? {
            CertificateGrant::Granted => {}
            reason => {
                let words = no_certificate(reason);
                return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, words));
            }
        },
    }
    Ok(reply::text(StatusCode::OK, "ok\n"))
}
