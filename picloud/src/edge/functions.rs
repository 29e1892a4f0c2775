//! Calls of the functions in a manifest.

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
use super::live::production;
use super::read_body::{BodyLimits, read_for_app};
use super::response_body::MemoryReserved;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Calls functions of live revisions.
#[derive(Clone)]
pub(crate) struct FunctionCaller {
    pub(crate) table: Arc<LiveTable>,
    pub(crate) recorder: Recorder,
    /// The limits of payloads.
    pub(crate) bodies: BodyLimits,
}

impl FunctionCaller {
    /// Calls a function with the request body as its payload.
    pub(super) async fn call(
        &self,
        app: &AppName,
        function: &str,
        request: Request,
    ) -> Result<Response<Body>, ApiError> {
        let live = production(&self.table, app)?;
        let manifest = live.revision.manifest();
        let found = manifest.functions.iter().find(|declared| declared.name.as_str() == function);
        let found = found.ok_or_else(|| ApiError::not_found("function not found"))?;
        let (script, name) = (found.script.clone(), found.name.clone());
        let request_id = request_id(request.headers());
        let payload =
            match read_for_app(&live, request.into_body(), live.revision.limits().body, self.bodies).await {
                Ok(payload) => payload,
                Err(error) => return Ok(error.to_response()),
            };
        let trigger = Trigger::Function { name, payload };
        let mut response =
            run(&self.recorder, &live, (script, None), request_id, trigger).await.map(Body::new);
        response.extensions_mut().insert(MemoryReserved);
        sandbox(response.headers_mut());
        Ok(response)
    }
}

/// Makes the response of an app safe at the origin of the control plane: browsers do not render it as a page of this server, do not guess
/// its type and store no state from it.
fn sandbox(headers: &mut HeaderMap) {
    for name in [header::SET_COOKIE, CLEAR_SITE_DATA, header::STRICT_TRANSPORT_SECURITY] {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
