//! A fetch or a clone: one request, and the pack as the client takes it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use manifest_schema::name::AppName;
use platform::memory::{Account, Purpose};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use super::error::GitError;
use super::state::GitEdge;
use super::wire::{ANSWER_BUFFER, PlainBody, git_reply, plain_body, protocol};
use crate::edge::body::{SPAN_MAX, Whole};
use crate::edge::pace::{MinRate, Pace};

/// The longest request of a fetch: a few hundred thousand haves.
const REQUEST_MAX: usize = 16 * 1024 * 1024;

/// The longest that a client may take to send its request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// How much of a request is read at a time, and of an answer handed on.
const PIECE: usize = 32 * 1024;

/// What a fetch holds of its app's memory from its beginning to its end. It can go on with that alone: one portion of objects that is
/// read, and one that is sent, each of 2 MiB. Where there is more room, it goes on faster.
const FETCH_BYTES: u64 = 5 * 1024 * 1024;

/// How long a fetch waits for that.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The longest that a client may take to read its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Answers what a client asks for. The pack is made as the client takes it: what is read ahead is bounded, and held.
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
    let account = repository.account(&git.memory);
    let asked = read(plain_body(request)?, &account, git.min_rate).await?;
    let held = tokio::time::timeout(WAIT_MAX, account.reserve(Purpose::Fetches, FETCH_BYTES)).await;
    let held = match held {
        Ok(held) => held?,
        Err(_) => account.try_reserve(Purpose::Fetches, FETCH_BYTES)?,
    };
    let repository = repository.holding(held).taking_turns(&git.fetches);
    let (mut output, input) = tokio::io::duplex(ANSWER_BUFFER);
    // On the threads of pushes: what is walked and compressed takes a processor for longer than a request is to wait.
    git.pushes.threads.handle().spawn(async move {
        let answering = git_receiver::upload(&repository, protocol, asked, &mut output);
        match tokio::time::timeout(ANSWER_TIME_MAX, answering).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%app, %error, "fetch failed"),
            Err(_) => tracing::info!(%app, "a fetch was given up: the client reads too slowly"),
        }
    });
    let answer = Body::from_stream(ReaderStream::with_capacity(input, PIECE));
    Ok(git_reply("application/x-git-upload-pack-result", answer))
}

/// Reads the request of a fetch, for which memory is held until it is answered.
async fn read(mut body: PlainBody, account: &Account, min_rate: MinRate) -> Result<Bytes, GitError> {
    let mut asked = Whole::new(account, Purpose::Fetches);
    asked.hold()?;
    let deadline = Instant::now() + REQUEST_TIME_MAX;
    let mut pace = Pace::from_next_span(min_rate, SPAN_MAX);
    let mut piece = vec![0; PIECE];
    loop {
        let (came, until) = (body.came(), deadline.min(pace.span_ends()));
        let read = match tokio::time::timeout_at(until, body.read(&mut piece)).await {
            Ok(Ok(0)) => return Ok(asked.into_bytes()),
            Ok(read) => read.map_err(GitError::Cut)?,
            Err(_) if until == deadline => return Err(GitError::Slow),
            Err(_) => 0,
        };
        asked.add(&piece[..read])?;
        if asked.length() > REQUEST_MAX {
            return Err(GitError::TooLarge);
        }
        pace.add(usize::try_from(body.came() - came).unwrap_or(usize::MAX));
        if !pace.is_kept() {
            return Err(GitError::Slow);
        }
    }
}
