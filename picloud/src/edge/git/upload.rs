//! upload-pack: a fetch or clone, in one request.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use git_receiver::Protocol;
use platform::executor::Holder;
use platform::executor::evictable_slots::EvictablePermit;
use platform::memory::{Account, Purpose};
use platform::repository::AppRepository;
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use super::error::GitError;
use super::state::GitService;
use super::wire::{DecodedBody, RESPONSE_BUFFER, decode_body, git_response, protocol};
use crate::edge::min_rate::{MinRate, RateMeter};
use crate::edge::read_body::{BodyBuffer, RATE_WINDOW_MAX};

/// The maximum size of a request, for a few hundred thousand `have` lines.
const REQUEST_MAX: usize = 16 * 1024 * 1024;

/// The maximum compression ratio of a request: hex object ids compress to half.
const RATIO_MAX: u64 = 50;

/// The maximum time to receive a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The size of a read from the request and of a chunk of the response.
const CHUNK: usize = 32 * 1024;

/// The memory of the app that a fetch reserves. It suffices for one batch of objects that is read and one that is sent, of 2 MiB each. With
/// more memory a fetch is faster.
const FETCH_BYTES: u64 = 5 * 1024 * 1024;

/// How long a fetch waits for its slot, and then for its memory.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The maximum time for a client to read the response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// An admitted fetch.
struct Fetch {
    holder: Holder,
    protocol: Protocol,
    repository: AppRepository,
    body: DecodedBody,
}

/// Handles a fetch. The pack is generated as fast as the client reads it; the read-ahead is bounded and its memory reserved.
pub(super) async fn upload(
    git: &GitService,
    holder: Holder,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    let permit = git.fetch_slots.acquire(&holder, WAIT_MAX).await.map_err(|_| GitError::TooManyFetches)?;
    let protocol = protocol(request.headers());
    let repository = git.apps.repository(&holder.app).await?;
    if !repository.exists() {
        return Err(GitError::NotFound(holder.app));
    }
    let fetch = Fetch { holder, protocol, repository, body: decode_body(request, RATIO_MAX)? };
    let (ready, output) = oneshot::channel();
    // On separate threads: inflating, walking and compressing occupy a CPU for longer than other requests should wait, and pushes should
    // not wait for fetches.
    git.config.fetch_threads.handle().spawn(run_fetch(git.clone(), fetch, permit, ready));
    let output = output.await.unwrap_or(Err(GitError::Evicted))?;
    let body = Body::from_stream(ReaderStream::with_capacity(output, CHUNK));
    Ok(git_response("application/x-git-upload-pack-result", body))
}

/// Runs a fetch unless it is evicted. Sends the handler the stream of the response, or the error.
async fn run_fetch(
    git: GitService,
    fetch: Fetch,
    permit: EvictablePermit,
    ready: oneshot::Sender<Result<DuplexStream, GitError>>,
) {
    let app = fetch.holder.app.clone();
    tokio::select! {
        () = serve_pack(&git, fetch, ready) => {}
        () = permit.evicted() => tracing::info!(%app, "fetch evicted"),
    }
}

async fn serve_pack(
    git: &GitService,
    fetch: Fetch,
    mut ready: oneshot::Sender<Result<DuplexStream, GitError>>,
) {
    let Fetch { holder, protocol, repository, body } = fetch;
    let account = repository.account(&git.memory);
    let prepare = async {
        let request = read(body, &account, git.min_rate).await?;
        let reserved = tokio::time::timeout(WAIT_MAX, account.reserve(Purpose::Fetches, FETCH_BYTES)).await;
        let reservation = match reserved {
            Ok(reservation) => reservation?,
            Err(_) => account.try_reserve(Purpose::Fetches, FETCH_BYTES)?,
        };
        Ok((request, reservation))
    };
    let prepared = tokio::select! {
        prepared = prepare => prepared,
        // The client has disconnected.
        () = ready.closed() => return,
    };
    let (request, reservation) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let repository = repository.with_memory(reservation).with_read_limit(&git.read_permits);
    let (mut input, output) = tokio::io::duplex(RESPONSE_BUFFER);
    if ready.send(Ok(output)).is_err() {
        return;
    }
    let upload = git_receiver::upload(&repository, protocol, request, &mut input);
    let app = holder.app;
    match tokio::time::timeout(RESPONSE_TIMEOUT, upload).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%app, %error, "fetch failed"),
        Err(_) => tracing::info!(%app, "fetch aborted: the client reads too slowly"),
    }
}

/// Reads the request of a fetch, in memory of the app.
async fn read(mut body: DecodedBody, account: &Account, min_rate: MinRate) -> Result<Bytes, GitError> {
    let mut request = BodyBuffer::new(account, Purpose::Fetches);
    request.reservation()?;
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let mut meter = RateMeter::with_grace_window(min_rate, RATE_WINDOW_MAX);
    let mut chunk = vec![0; CHUNK];
    loop {
        let (received, wait_end) = (body.received(), deadline.min(meter.window_end()));
        let read = match tokio::time::timeout_at(wait_end, body.read(&mut chunk)).await {
            Ok(Ok(0)) => return Ok(request.into_bytes()),
            Ok(read) => read.map_err(GitError::Disconnected)?,
            Err(_) if wait_end == deadline => return Err(GitError::Timeout),
            Err(_) => 0,
        };
        request.add(&chunk[..read])?;
        if request.length() > REQUEST_MAX {
            return Err(GitError::TooLarge);
        }
        meter.add(usize::try_from(body.received() - received).unwrap_or(usize::MAX));
        if !meter.is_met() {
            return Err(GitError::Timeout);
        }
    }
}
