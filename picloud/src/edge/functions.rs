//! Calls of functions that a manifest declares.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use manifest_schema::name::AppName;
use platform::live::LiveTable;
use platform::recording::Recorder;
use runtime::Trigger;

use super::api_error::ApiError;
use super::app::{request_id, run};
use super::body::{BodyBounds, read_for_app};
use super::live::production;
use super::reply::HoldsMemory;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Calls functions of what is live.
#[derive(Clone)]
pub(crate) struct FunctionCaller {
    pub(crate) table: Arc<LiveTable>,
    pub(crate) recorder: Recorder,
    /// How long a client may take to send a payload.
    pub(crate) bodies: BodyBounds,
}

impl FunctionCaller {
    /// Calls a function with the body of the request as its payload.
    pub(super) async fn call(
        &self,
        app: &AppName,
        function: &str,
        request: Request,
    ) -> Result<Response<Body>, ApiError> {
        let live = production(&self.table, app)?;
        let manifest = live.revision.manifest();
        let found = manifest.functions.iter().find(|declared| declared.name.as_str() == function);
        let found = found.ok_or_else(|| ApiError::not_found("the app has no such function"))?;
        let (script, name) = (found.script.clone(), found.name.clone());
        let request_id = request_id(request.headers());
        let payload = match read_for_app(&live, request.into_body(), self.bodies).await {
            Ok(payload) => payload,
            Err(error) => return Ok(error.answer()),
        };
        let trigger = Trigger::Function { name, payload };
        let mut response = run(&self.recorder, &live, script, request_id, trigger).await.map(Body::new);
        response.extensions_mut().insert(HoldsMemory);
        sandbox(response.headers_mut());
        Ok(response)
    }
}

/// What an app says at the control plane's own address is data. No browser shows it as a page of this server, takes it for anything else
/// than it is called, or keeps anything of it.
fn sandbox(headers: &mut HeaderMap) {
    for name in [header::SET_COOKIE, CLEAR_SITE_DATA, header::STRICT_TRANSPORT_SECURITY] {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
