//! A fetch or a clone: one request, and the pack as the client takes it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use git_receiver::Protocol;
use platform::executor::Holder;
use platform::executor::places::Place;
use platform::memory::{Account, Purpose};
use platform::repository::AppRepository;
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use super::error::GitError;
use super::state::GitEdge;
use super::wire::{ANSWER_BUFFER, PlainBody, git_reply, plain_body, protocol};
use crate::edge::body::{SPAN_MAX, Whole};
use crate::edge::pace::{MinRate, Pace};

/// The longest request of a fetch: a few hundred thousand haves.
const REQUEST_MAX: usize = 16 * 1024 * 1024;

/// How many times as long as it came a request can be: names of objects become twice as long.
const RATIO_MAX: u64 = 50;

/// The longest that a client may take to send its request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// How much of a request is read at a time, and of an answer handed on.
const PIECE: usize = 32 * 1024;

/// What a fetch holds of its app's memory from its beginning to its end. It can go on with that alone: one portion of objects that is
/// read, and one that is sent, each of 2 MiB. Where there is more room, it goes on faster.
const FETCH_BYTES: u64 = 5 * 1024 * 1024;

/// How long a fetch waits for that, and before that for its place.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The longest that a client may take to read its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// A fetch that has a place.
struct Fetch {
    holder: Holder,
    protocol: Protocol,
    repository: AppRepository,
    body: PlainBody,
}

/// Answers what a client asks for. The pack is made as the client takes it: what is read ahead is bounded, and held.
pub(super) async fn upload(
    git: &GitEdge,
    holder: Holder,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    let place = git.fetching.enter(&holder, WAIT_MAX).await.map_err(|_| GitError::TooManyFetches)?;
    let protocol = protocol(request.headers());
    let repository = git.apps.repository(&holder.app).await?;
    if !repository.exists() {
        return Err(GitError::Unknown(holder.app));
    }
    let fetch = Fetch { holder, protocol, repository, body: plain_body(request, RATIO_MAX)? };
    let (begun, beginning) = oneshot::channel();
    // On threads of their own, from the first byte: what is inflated, understood, walked and compressed takes a processor for longer
    // than a request is to wait, and what many fetches want, no push is to wait for.
    git.pushes.fetch_threads.handle().spawn(answer(git.clone(), fetch, place, begun));
    let input = beginning.await.unwrap_or(Err(GitError::GaveWay))?;
    let answer = Body::from_stream(ReaderStream::with_capacity(input, PIECE));
    Ok(git_reply("application/x-git-upload-pack-result", answer))
}

/// Answers a fetch to its end, as long as it has its place. Who asked for it gets what is to be read of it, or why there is nothing.
async fn answer(
    git: GitEdge,
    fetch: Fetch,
    place: Place,
    begun: oneshot::Sender<Result<DuplexStream, GitError>>,
) {
    let app = fetch.holder.app.clone();
    tokio::select! {
        () = exchange(&git, fetch, begun) => {}
        () = place.given_way() => tracing::info!(%app, "a fetch gave way to others"),
    }
}

async fn exchange(git: &GitEdge, fetch: Fetch, mut begun: oneshot::Sender<Result<DuplexStream, GitError>>) {
    let Fetch { holder, protocol, repository, body } = fetch;
    let account = repository.account(&git.memory);
    let preparing = async {
        let asked = read(body, &account, git.min_rate).await?;
        let held = tokio::time::timeout(WAIT_MAX, account.reserve(Purpose::Fetches, FETCH_BYTES)).await;
        Ok((
            asked,
            match held {
                Ok(held) => held?,
                Err(_) => account.try_reserve(Purpose::Fetches, FETCH_BYTES)?,
            },
        ))
    };
    let prepared = tokio::select! {
        prepared = preparing => prepared,
        // Who asked is gone.
        () = begun.closed() => return,
    };
    let (asked, held) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return drop(begun.send(Err(error))),
    };
    let repository = repository.holding(held).taking_turns(&git.reads);
    let (mut output, input) = tokio::io::duplex(ANSWER_BUFFER);
    if begun.send(Ok(input)).is_err() {
        return;
    }
    let answering = git_receiver::upload(&repository, protocol, asked, &mut output);
    let app = holder.app;
    match tokio::time::timeout(ANSWER_TIME_MAX, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%app, %error, "fetch failed"),
        Err(_) => tracing::info!(%app, "a fetch was given up: the client reads too slowly"),
    }
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
