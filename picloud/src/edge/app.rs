//! A request to an app: live revision, route, run, answer. No database on the way.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use manifest_schema::name::ScriptPath;
use platform::execution::{Busy, execute};
use runtime::{Answer, Execution, FailureKind, HttpRequest, Invocation, Live, Routed, Trigger};
use serde_json::json;
use uuid::Uuid;

use super::reply;

const REVISION: HeaderName = HeaderName::from_static("picloud-revision");
const EXECUTION: HeaderName = HeaderName::from_static("picloud-execution");
const REQUEST_ID: &str = "x-request-id";

/// Answers a request to a live revision, which was taken once and is kept to the end. `path` is what the app sees: it
/// begins with `/` and is as it was sent. `body_time` is the longest a client may take to send a body.
pub(crate) async fn answer(
    live: Arc<Live>,
    path: &str,
    request: Request<Body>,
    body_time: Duration,
) -> Response<Body> {
    let routed = live.revision.route(request.method().as_str(), path);
    let mut response = match routed {
        Routed::Script(matched) => {
            let (parts, body) = request.into_parts();
            match read_body(body, live.revision.manifest().limits.body, body_time).await {
                Ok(body) => {
                    let script = matched.script;
                    let request = HttpRequest {
                        method: parts.method.as_str().to_owned(),
                        path: matched.path,
                        headers: header_list(&parts.headers),
                        params: matched.params,
                        query: parts.uri.query().unwrap_or_default().to_owned(),
                        rest: matched.rest,
                        body,
                    };
                    run(&live, script, request_id(&parts.headers), Trigger::Http(request)).await
                }
                Err(response) => *response,
            }
        }
        Routed::Options { allow } => with_allow(reply::text(StatusCode::NO_CONTENT, ""), &allow),
        Routed::MethodNotAllowed { allow } => with_allow(
            reply::json(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "method not allowed"})),
            &allow,
        ),
        Routed::NotFound => reply::json(StatusCode::NOT_FOUND, &json!({"error": "no such route"})),
        Routed::BadPath => reply::json(StatusCode::BAD_REQUEST, &json!({"error": "malformed path"})),
    };
    if let Ok(revision) = HeaderValue::from_str(live.revision.commit()) {
        response.headers_mut().insert(REVISION, revision);
    }
    response
}

/// Runs a script for a caller who waits, and turns its outcome into HTTP.
pub(crate) async fn run(
    live: &Arc<Live>,
    script: ScriptPath,
    request_id: Uuid,
    trigger: Trigger,
) -> Response<Body> {
    let execution_id = Uuid::now_v7();
    let invocation = Invocation { execution_id, request_id, trigger };
    let mut response = match execute(Arc::clone(live), script, invocation).await {
        Ok(execution) => outcome(execution, execution_id),
        Err(Busy) => {
            let mut response = reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "busy"}));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    };
    if let Ok(execution) = HeaderValue::from_str(&execution_id.to_string()) {
        response.headers_mut().insert(EXECUTION, execution);
    }
    response
}

/// The id that an upstream gave the request, where it is a UUID; else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> Uuid {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    given.and_then(|value| Uuid::try_parse(value).ok()).unwrap_or_else(Uuid::new_v4)
}

/// Reads a body of at most `limit` bytes within `time`.
pub(crate) async fn read_body(body: Body, limit: u64, time: Duration) -> Result<Bytes, Box<Response<Body>>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let too_large = || {
        let words = json!({"error": "body too large", "limit": limit});
        Box::new(reply::json(StatusCode::PAYLOAD_TOO_LARGE, &words))
    };
    // A body that says how long it is need not be asked for.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            Err(Box::new(reply::json(StatusCode::BAD_REQUEST, &json!({"error": "the body was cut off"}))))
        }
        Err(_) => Err(Box::new(reply::json(
            StatusCode::REQUEST_TIMEOUT,
            &json!({"error": "the body took too long"}),
        ))),
    }
}

fn outcome(execution: Execution, execution_id: Uuid) -> Response<Body> {
    match execution.outcome {
        Ok(answer) if answer.status < 200 => {
            // What says 1xx is only the beginning of an answer, and 101 would make what follows no HTTP.
            tracing::warn!(target: "script", execution = %execution_id, "cannot answer with status {}", answer.status);
            let words = json!({"error": "script error", "execution_id": execution_id.to_string()});
            reply::json(StatusCode::INTERNAL_SERVER_ERROR, &words)
        }
        Ok(answer) => response(answer),
        Err(failure) => {
            let status = match failure.kind {
                FailureKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
                FailureKind::InvalidJson => StatusCode::BAD_REQUEST,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let error = if status == StatusCode::BAD_REQUEST { "invalid JSON body" } else { "script error" };
            reply::json(status, &json!({"error": error, "execution_id": execution_id.to_string()}))
        }
    }
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    // The runtime has checked status and headers; what HTTP still refuses is left out rather than sent wrong.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn header_list(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn with_allow(mut response: Response<Body>, allow: &str) -> Response<Body> {
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
