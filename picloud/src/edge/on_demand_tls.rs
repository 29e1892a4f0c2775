//! Tells a proxy with on-demand TLS (Caddy's `ask`) for which names to obtain a certificate.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use manifest_schema::label::split_host;
use platform::certificates::{CertificateGrant, PreviewCertificates};
use platform::live::LiveState;
use platform::repository::AppId;

use super::api_error::ApiError;
use super::app_lookup::AppLookup;
use super::response;
use crate::render::status::certificate_denial;

/// The longest name in DNS.
const NAME_MAX: usize = 253;

/// The state of the handler.
#[derive(Clone)]
pub(super) struct OnDemandTls {
    pub(super) apps: AppLookup,
    pub(super) certificates: PreviewCertificates,
}

/// Whether a name gets a certificate.
enum Policy {
    /// A name of the server, or of an app in production.
    Allow,
    /// The name of a preview: their certificates are limited per week.
    RateLimited(AppId),
    /// Nothing is served at the name.
    Deny,
}

impl OnDemandTls {
    fn policy(&self, name: &str) -> Policy {
        let hosts = &self.apps.hosts;
        let Some(label) = hosts.app_label(name) else {
            let is_known = hosts.is_domain(name) || self.apps.by_domain(name).is_some();
            return if is_known { Policy::Allow } else { Policy::Deny };
        };
        let is_preview = split_host(&label.to_ascii_lowercase()).1.is_some();
        match self.apps.by_label(label) {
            Some(LiveState::Live(live)) if is_preview => {
                Policy::RateLimited(AppId::from_uuid(live.revision.app_id()))
            }
            Some(LiveState::Unserved | LiveState::Stopped) if is_preview => Policy::Deny,
            Some(_) => Policy::Allow,
            None => Policy::Deny,
        }
    }
}

/// 200 where the name gets a certificate, 404 where nothing is served at it, 429 beyond the limit of previews. Public: the response
/// reveals no more than a request to the name, and only the first request for a preview reaches the database.
pub(super) async fn handle(State(tls): State<OnDemandTls>, uri: Uri) -> Result<Response<Body>, ApiError> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let name = pairs.filter_map(|pair| pair.strip_prefix("domain=")).next();
    let name = name
        .ok_or(ApiError::bad_request("missing query parameter `domain`, as in ?domain=hello.example.com"))?;
    let unknown = || ApiError::not_found("no app at this name");
    if name.len() > NAME_MAX {
        return Err(unknown());
    }
    match tls.policy(name) {
        Policy::Allow => {}
        Policy::Deny => return Err(unknown()),
        Policy::RateLimited(app) => match tls.certificates.grant(app, &name.to_ascii_lowercase()).await? {
            CertificateGrant::Granted => {}
            reason => return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, certificate_denial(reason))),
        },
    }
    Ok(response::text(StatusCode::OK, "ok\n"))
}
