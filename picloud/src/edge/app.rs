//! Handles a request to an app: routes it in the live revision, runs the script and builds the response, without the database.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use manifest_schema::limits::Limits;
use manifest_schema::method::Method as Declared;
use manifest_schema::name::ScriptPath;
use platform::execution::execute;
use platform::live::Live;
use platform::memory::{Account, OutOfMemory, Purpose};
use platform::recording::Recorder;
use runtime::{Execution, FailureKind, Headers, HttpRequest, Invocation, Origin, RouteOutcome, Trigger};
use serde_json::json;
use uuid::Uuid;

use super::read_body::{BodyLimits, read_for_app};
use super::request_body::RequestBody;
use super::response;
use super::response_body::ResponseBody;

const REVISION: HeaderName = HeaderName::from_static("picloud-revision");
const EXECUTION: HeaderName = HeaderName::from_static("picloud-execution");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const JSON: &str = "application/json";

/// The head of a request to an app, without its path.
pub(crate) struct RequestHead<'r> {
    pub(crate) method: &'r Method,
    pub(crate) query: Option<&'r str>,
    pub(crate) headers: HeaderMap,
    pub(crate) origin: Origin,
}

/// Handles a request with one live revision from start to end. `path` is the path that the app sees; it starts with `/` and is not
/// decoded.
pub(crate) async fn handle(
    recorder: &Recorder,
    live: &Arc<Live>,
    path: &str,
    head: RequestHead<'_>,
    body: RequestBody,
    body_limits: BodyLimits,
) -> Response<ResponseBody> {
    let mut response = match live.revision.route(head.method.as_str(), path) {
        RouteOutcome::Script(matched) => {
            let app_limits = live.revision.limits();
            let limits = matched.limits.map(|route| Arc::new(app_limits.of_route(&route)));
            let bytes_max = limits.as_deref().unwrap_or(app_limits).body;
            match read_for_app(live, body, bytes_max, body_limits).await {
                Ok(body) => {
                    let request_id = request_id(&head.headers);
                    // Routes only match these methods.
                    let method = Declared::parse(head.method.as_str()).unwrap_or(Declared::Get);
                    let request = HttpRequest {
                        method,
                        path: matched.path,
                        headers: Arc::new(HeaderView(head.headers)),
                        params: matched.params,
                        query: head.query.unwrap_or_default().to_owned(),
                        rest: matched.rest,
                        body,
                        origin: head.origin,
                    };
                    let trigger = Trigger::Http(Arc::new(request));
                    run(recorder, live, (matched.script, limits), request_id, trigger).await
                }
                Err(error) => error.to_response().map(ResponseBody::from),
            }
        }
        RouteOutcome::Options { allow } => {
            with_allow(response::text(StatusCode::NO_CONTENT, ""), &allow).map(ResponseBody::from)
        }
        RouteOutcome::MethodNotAllowed { allow } => {
            let error = json!({"error": "method not allowed"});
            with_allow(response::json(StatusCode::METHOD_NOT_ALLOWED, &error), &allow).map(ResponseBody::from)
        }
        RouteOutcome::NotFound => {
            response::json(StatusCode::NOT_FOUND, &json!({"error": "no such route"})).map(ResponseBody::from)
        }
        RouteOutcome::BadPath => response::json(StatusCode::BAD_REQUEST, &json!({"error": "malformed path"}))
            .map(ResponseBody::from),
    };
    if let Ok(revision) = HeaderValue::from_maybe_shared(live.revision.commit_bytes()) {
        response.headers_mut().insert(REVISION, revision);
    }
    response
}

/// The request headers, as scripts read them.
#[derive(Debug)]
struct HeaderView(HeaderMap);

impl Headers for HeaderView {
    fn for_each(&self, show: &mut dyn FnMut(&str, &[u8])) {
        self.0.iter().for_each(|(name, value)| show(name.as_str(), value.as_bytes()));
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(HeaderValue::as_bytes)
    }
}

/// Runs a script and turns its outcome into a response. Without limits of its own, those of the app apply.
pub(crate) async fn run(
    recorder: &Recorder,
    live: &Arc<Live>,
    (script, limits): (ScriptPath, Option<Arc<Limits>>),
    request_id: Uuid,
    trigger: Trigger,
) -> Response<ResponseBody> {
    let execution_id = Uuid::now_v7();
    let invocation = Invocation::new(script, execution_id, request_id, trigger);
    let invocation = Invocation { limits, ..invocation };
    let mut response = match execute(recorder, Arc::clone(live), invocation).await {
        Ok(Execution { outcome: Ok(answer), .. }) => {
            from_script(answer, live.memory()).unwrap_or_else(|error| {
                live.report_out_of_memory(Purpose::Responses, &error);
                response::out_of_memory(&error).map(ResponseBody::from)
            })
        }
        Ok(Execution { outcome: Err(failure), .. }) => script_failed(failure.kind, execution_id),
        Err(busy) => {
            let error = json!({"error": busy.to_string()});
            let mut response = response::json(StatusCode::SERVICE_UNAVAILABLE, &error);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response.map(ResponseBody::from)
        }
    };
    let mut text = Uuid::encode_buffer();
    if let Ok(execution) = HeaderValue::from_str(execution_id.hyphenated().encode_lower(&mut text)) {
        response.headers_mut().insert(EXECUTION, execution);
    }
    response
}

/// The `X-Request-Id` of the request, where it is a UUID; otherwise a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> Uuid {
    let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    sent.and_then(|value| Uuid::try_parse(value).ok()).unwrap_or_else(Uuid::new_v4)
}

fn script_failed(kind: FailureKind, execution_id: Uuid) -> Response<ResponseBody> {
    let error = match kind {
        FailureKind::InvalidJson => "invalid JSON body",
        FailureKind::InvalidForm => "invalid form body",
        FailureKind::NodeMemory => "node out of memory",
        FailureKind::Storage => "the state of the app is not available now, try again",
        _ => "script error",
    };
    let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = json!({"error": error, "execution_id": execution_id.to_string()});
    let mut response = response::json(status, &error).map(ResponseBody::from);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The response of a script. It reserves the memory of its body until that is sent; the concurrency slot is already released.
fn from_script(answer: runtime::Response, account: &Account) -> Result<Response<ResponseBody>, OutOfMemory> {
    let mut response = Response::new(ResponseBody::reserved(answer.body, account)?);
    // The runtime has validated status and headers. Anything that HTTP still rejects is left out.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if name == "content-type" && value == JSON {
            // The common case, without an allocation.
            response.headers_mut().append(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn with_allow(mut response: Response<Body>, allow: &str) -> Response<Body> {
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
