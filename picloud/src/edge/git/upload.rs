//! A fetch or a clone: one request, and the pack as it is read.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use manifest_schema::name::AppName;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::state::GitEdge;
use super::wire::{ANSWER_BUFFER, git_reply, plain_body, protocol, unknown};
use crate::edge::reply;

/// The longest request of a fetch: a few hundred thousand haves.
const REQUEST_MAX: u64 = 16 * 1024 * 1024;

/// The longest that a client may take to send its request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// The longest that a client may take to read its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Answers what a client asks for, as the pack is read.
pub(super) async fn upload(git: &GitEdge, app: AppName, request: Request<Body>) -> Response<Body> {
    let protocol = protocol(request.headers());
    let repository = match git.apps.repository(&app).await {
        Ok(repository) if repository.exists() => repository,
        Ok(_) => return unknown(&app),
        Err(error) => return reply::unavailable(&error),
    };
    let body = match plain_body(request) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let mut asked = Vec::new();
    let mut limited = body.take(REQUEST_MAX + 1);
    match tokio::time::timeout(REQUEST_TIME_MAX, limited.read_to_end(&mut asked)).await {
        Ok(Ok(read)) if read as u64 <= REQUEST_MAX => {}
        Ok(Ok(_)) => return reply::text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"),
        Ok(Err(error)) => return reply::text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        Err(_) => {
            return reply::text(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive\n");
        }
    }
    let (mut output, input) = tokio::io::duplex(ANSWER_BUFFER);
    tokio::spawn(async move {
        let answering = git_receiver::upload(&repository, protocol, asked.into(), &mut output);
        match tokio::time::timeout(ANSWER_TIME_MAX, answering).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%app, %error, "fetch failed"),
            Err(_) => tracing::info!(%app, "a fetch was given up: the client reads too slowly"),
        }
    });
    git_reply("application/x-git-upload-pack-result", Body::from_stream(ReaderStream::new(input)))
}
