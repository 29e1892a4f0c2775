//! A request to an app: live revision, route, run, answer. No database on the way.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use manifest_schema::method::Method as Declared;
use manifest_schema::name::ScriptPath;
use platform::execution::execute;
use platform::live::Live;
use platform::memory::{Account, OutOfMemory, Purpose};
use platform::recording::Recorder;
use runtime::{Answer, Execution, FailureKind, Headers, HttpRequest, Invocation, Routed, Trigger};
use serde_json::json;
use uuid::Uuid;

use super::body::{BodyBounds, read_for_app};
use super::reply::{self, Content};
use super::request_body::RequestBody;

const REVISION: HeaderName = HeaderName::from_static("picloud-revision");
const EXECUTION: HeaderName = HeaderName::from_static("picloud-execution");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const JSON: &str = "application/json";

/// What a request to an app says beside its path and its body.
pub(crate) struct Asked<'r> {
    pub(crate) method: &'r Method,
    pub(crate) query: Option<&'r str>,
    pub(crate) headers: HeaderMap,
}

/// Answers a request to a live revision, which was taken once and is kept to the end. `path` is what the app sees: it
/// begins with `/` and is as it was sent.
pub(crate) async fn answer(
    recorder: &Recorder,
    live: &Arc<Live>,
    path: &str,
    asked: Asked<'_>,
    body: RequestBody,
    bodies: BodyBounds,
) -> Response<Content> {
    let mut response = match live.revision.route(asked.method.as_str(), path) {
        Routed::Script(matched) => {
            match read_for_app(live, body, bodies).await {
                Ok(body) => {
                    let request_id = request_id(&asked.headers);
                    // No route has another method.
                    let method = Declared::parse(asked.method.as_str()).unwrap_or(Declared::Get);
                    let request = HttpRequest {
                        method,
                        path: matched.path,
                        headers: Arc::new(Sent(asked.headers)),
                        params: matched.params,
                        query: asked.query.unwrap_or_default().to_owned(),
                        rest: matched.rest,
                        body,
                    };
                    run(recorder, live, matched.script, request_id, Trigger::Http(request)).await
                }
                Err(error) => error.answer().map(Content::from),
            }
        }
        Routed::Options { allow } => {
            with_allow(reply::text(StatusCode::NO_CONTENT, ""), &allow).map(Content::from)
        }
        Routed::MethodNotAllowed { allow } => {
            let words = json!({"error": "method not allowed"});
            with_allow(reply::json(StatusCode::METHOD_NOT_ALLOWED, &words), &allow).map(Content::from)
        }
        Routed::NotFound => {
            reply::json(StatusCode::NOT_FOUND, &json!({"error": "no such route"})).map(Content::from)
        }
        Routed::BadPath => {
            reply::json(StatusCode::BAD_REQUEST, &json!({"error": "malformed path"})).map(Content::from)
        }
    };
    if let Ok(revision) = HeaderValue::from_maybe_shared(live.revision.commit_bytes()) {
        response.headers_mut().insert(REVISION, revision);
    }
    response
}

/// The headers of a request as a script reads them.
#[derive(Debug)]
struct Sent(HeaderMap);

impl Headers for Sent {
    fn each(&self, show: &mut dyn FnMut(&str, &[u8])) {
        self.0.iter().for_each(|(name, value)| show(name.as_str(), value.as_bytes()));
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(HeaderValue::as_bytes)
    }
}

/// Runs a script for a caller who waits, and turns its outcome into HTTP.
pub(crate) async fn run(
    recorder: &Recorder,
    live: &Arc<Live>,
    script: ScriptPath,
    request_id: Uuid,
    trigger: Trigger,
) -> Response<Content> {
    let execution_id = Uuid::now_v7();
    let invocation = Invocation { script, execution_id, request_id, trigger };
    let mut response = match execute(recorder, Arc::clone(live), invocation).await {
        Ok(Execution { outcome: Ok(answer), .. }) => {
            response(answer, live.memory()).unwrap_or_else(|error| {
                live.note_out_of_memory(Purpose::Responses, &error);
                reply::out_of_memory(&error).map(Content::from)
            })
        }
        Ok(Execution { outcome: Err(failure), .. }) => failed(failure.kind, execution_id),
        Err(busy) => {
            let why = json!({"error": busy.to_string()});
            let mut response = reply::json(StatusCode::SERVICE_UNAVAILABLE, &why);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response.map(Content::from)
        }
    };
    let mut text = Uuid::encode_buffer();
    if let Ok(execution) = HeaderValue::from_str(execution_id.hyphenated().encode_lower(&mut text)) {
        response.headers_mut().insert(EXECUTION, execution);
    }
    response
}

/// The id that an upstream gave the request, where it is a UUID; else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> Uuid {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    given.and_then(|value| Uuid::try_parse(value).ok()).unwrap_or_else(Uuid::new_v4)
}

fn failed(kind: FailureKind, execution_id: Uuid) -> Response<Content> {
    let error = match kind {
        FailureKind::InvalidJson => "invalid JSON body",
        FailureKind::NodeMemory => "the node has no memory for it now",
        _ => "script error",
    };
    let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let words = json!({"error": error, "execution_id": execution_id.to_string()});
    let mut response = reply::json(status, &words).map(Content::from);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The answer of a script, with the memory that it takes until its client has taken it. Its slot is another one's by now.
fn response(answer: Answer, account: &Account) -> Result<Response<Content>, OutOfMemory> {
    let mut response = Response::new(Content::held(answer.body, account)?);
    // The runtime has checked status and headers; what HTTP still refuses is left out rather than sent wrong.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if name == "content-type" && value == JSON {
            // By far the most answers, which need nothing of their own.
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
