//! A fetch or a clone: one request, and the pack as it is read.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use manifest_schema::name::AppName;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::error::GitError;
use super::state::GitEdge;
use super::wire::{ANSWER_BUFFER, git_reply, plain_body, protocol};

/// The longest request of a fetch: a few hundred thousand haves.
const REQUEST_MAX: u64 = 16 * 1024 * 1024;

/// The longest that a client may take to send its request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// The longest that a client may take to read its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Answers what a client asks for, as the pack is read.
pub(super) async fn upload(
    git: &GitEdge,
    app: AppName,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    let protocol = protocol(request.headers());
    let repository = git.apps.repository(&app).await?;
    if !repository.exists() {
        return Err(GitError::Unknown(app));
    }
    let mut asked = Vec::new();
    let mut limited = plain_body(request)?.take(REQUEST_MAX + 1);
    let reading = tokio::time::timeout(REQUEST_TIME_MAX, limited.read_to_end(&mut asked));
    let read = reading.await.map_err(|_| GitError::Slow)?.map_err(GitError::Cut)?;
    if read as u64 > REQUEST_MAX {
        return Err(GitError::TooLarge);
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
    Ok(git_reply("application/x-git-upload-pack-result", Body::from_stream(ReaderStream::new(input))))
}
