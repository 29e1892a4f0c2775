//! receive-pack: a push, received completely and then run while its progress is reported to the client.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use git_receiver::{Capabilities, Request as PushRequest, UnpackError, report};
use manifest_schema::name::AppName;
use platform::deploy::{Deployer, Event, EventSender, Outcome, PushReport, Pusher, RefReport, Rejection};
use platform::executor::Holder;
use platform::executor::evictable_slots::EvictablePermit;
use platform::executor::fair_semaphore::FairSemaphore;
use platform::memory::{Purpose, Reservation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::io::ReaderStream;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::error::GitError;
use super::spool::{SpoolError, SpoolFailure, SpoolLimits, Spooled, discard, spool};
use super::state::{GitService, PushLimits};
use super::wire::{RESPONSE_BUFFER, decode_body, git_response};
use crate::edge::authenticator::Caller;
use crate::metrics::EdgeMetrics;
use crate::render::app_urls::AppUrls;
use crate::render::push::PushReporter;
use crate::traces::TARGET;

/// How often to send a keepalive while there is no progress.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// The memory of the app that a push reserves while it is received: the in-memory spool, the read buffer and the decompressor.
const RECEIVE_BYTES: u64 = 192 * 1024;

/// How long a push waits for its permit to be unpacked.
const PERMIT_WAIT_MAX: Duration = Duration::from_secs(60);

/// The maximum compression ratio of a push. Packs are compressed already, and git compresses nothing else of a push.
const RATIO_MAX: u64 = 10;

/// How long to wait for the commands of a push that is rejected unread, and their maximum size.
const REJECTED_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const REJECTED_HEAD_BYTES_MAX: usize = 64 * 1024;

const RESULT: &str = "application/x-git-receive-pack-result";

/// A push that has been received completely.
struct ReceivedPush {
    holder: Holder,
    request: PushRequest,
    body: Spooled,
    pusher: Pusher,
    urls: AppUrls,
    started: Instant,
    /// Held until the push ends: queued and running pushes take spool space as well.
    slot: EvictablePermit,
    /// Held until the push runs.
    memory: Reservation,
    numbers: Arc<EdgeMetrics>,
}

/// Receives a push and runs it.
pub(super) async fn receive(
    git: &GitService,
    holder: Holder,
    caller: Caller,
    urls: AppUrls,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    let started = Instant::now();
    let app = holder.app.clone();
    let reporter = PushReporter::new(app.clone(), caller.actor.name.clone(), urls.clone(), false);
    let (slot, memory) = match admit(git, &holder).await {
        Ok(admitted) => admitted,
        Err(error) => return reject_unread(git, reporter, request, error).await,
    };
    let mut body = decode_body(request, RATIO_MAX)?;
    let limits = &git.config.limits;
    let mut body = match spool(&mut body, &spool_limits(git), &slot).await {
        Ok(body) => body,
        Err(SpoolFailure { error, head }) => {
            let rejection = spool_rejection(&app, &error, git);
            let parsed = git_receiver::read_request(&mut head.as_slice(), &limits.limits).await;
            let Ok(Some(request)) = parsed else { return Err(GitError::NotReceived(error)) };
            return Ok(reject(git, &reporter, &request, &rejection, started));
        }
    };
    let request = match git_receiver::read_request(&mut body, &limits.limits).await {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(git_response(RESULT, Body::empty())),
        Err(error) => {
            tracing::info!(%app, %error, "invalid push request");
            return Err(GitError::NotAPush(error));
        }
    };
    if let Some(error) = request.error {
        let error = UnpackError::from(error);
        let rejection = Rejection::Unpack { reason: error.to_string(), limit: error.limit() };
        return Ok(reject(git, &reporter, &request, &rejection, started));
    }
    let pusher = Pusher {
        caller: caller.principal,
        actor: caller.actor,
        creates: git.config.create_apps,
        message: None,
    };
    let push = ReceivedPush {
        holder,
        request,
        body,
        pusher,
        urls,
        started,
        slot,
        memory,
        numbers: Arc::clone(&git.config.numbers),
    };
    let (input, output) = tokio::io::duplex(RESPONSE_BUFFER);
    let (deployer, limits) = (git.deployer.clone(), git.config.limits.clone());
    // In the span of this request, whose response starts before the push ends.
    let task = run_push(push, deployer, limits, git.push_permits.clone(), input).in_current_span();
    git.config.threads.handle().spawn(task);
    Ok(git_response(RESULT, Body::from_stream(ReaderStream::new(output))))
}

/// Acquires the slot and the memory to receive a push.
async fn admit(git: &GitService, holder: &Holder) -> Result<(EvictablePermit, Reservation), GitError> {
    let slot = git.push_slots.try_acquire(holder).map_err(|_| GitError::TooManyPushes)?;
    let account = git.apps.repository(&holder.app).await?.account(&git.memory);
    Ok((slot, account.try_reserve(Purpose::Pushes, RECEIVE_BYTES)?))
}

fn spool_limits(git: &GitService) -> SpoolLimits<'_> {
    let limits = &git.config.limits;
    SpoolLimits {
        bytes_max: limits.request_bytes_max(),
        timeout: limits.timeout,
        min_rate: git.min_rate,
        dir: &git.config.spool_dir,
    }
}

/// Rejects a push in git's protocol without running it. On an HTTP error git reports "Everything up-to-date" and hides the message. Returns
/// `error` where this is no push, or too many are being rejected.
pub(super) async fn reject_unread(
    git: &GitService,
    reporter: PushReporter,
    request: Request<Body>,
    error: GitError,
) -> Result<Response<Body>, GitError> {
    let started = Instant::now();
    let Some(rejection) = error.rejection() else { return Err(error) };
    let Ok(_permit) = git.rejecting.try_acquire() else { return Err(error) };
    let mut body = decode_body(request, RATIO_MAX)?;
    // A client sends the commands at once.
    let limits =
        git_receiver::Limits { head_bytes: REJECTED_HEAD_BYTES_MAX, ..git.config.limits.limits.clone() };
    let read = tokio::time::timeout(REJECTED_HEAD_TIMEOUT, git_receiver::read_request(&mut body, &limits));
    let Ok(Ok(Some(request))) = read.await else { return Err(error) };
    discard(&mut body, &spool_limits(git)).await;
    Ok(reject(git, &reporter, &request, &rejection, started))
}

/// The rejection of a push that could not be spooled.
fn spool_rejection(app: &AppName, error: &SpoolError, git: &GitService) -> Rejection {
    if let SpoolError::Storage(source) = error {
        return storage_failed(app, source);
    }
    tracing::info!(%app, %error, "push not received");
    match error {
        SpoolError::NoSpace => Rejection::NoBufferSpace,
        SpoolError::Evicted => Rejection::Evicted,
        SpoolError::Timeout => Rejection::ReceiveTimeout {
            time: git.config.limits.timeout,
            min_rate: git.min_rate.bytes_per_second,
        },
        SpoolError::Disconnected(_) | SpoolError::Storage(_) => {
            Rejection::Unpack { reason: error.to_string(), limit: None }
        }
    }
}

/// The rejection of a push that cannot be written to the data folder.
fn storage_failed(app: &AppName, source: &io::Error) -> Rejection {
    let incident = uuid::Uuid::new_v4();
    tracing::error!(%app, %incident, error = %source, "cannot write a push to the data folder");
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Rejection::DiskFull,
        _ => Rejection::Internal { incident },
    }
}

/// The whole response to a push that is rejected without running it.
fn reject(
    git: &GitService,
    reporter: &PushReporter,
    request: &PushRequest,
    rejection: &Rejection,
    started: Instant,
) -> Response<Body> {
    let reports = RefReport::reject_all(&request.commands, rejection);
    git.config.numbers.observe_push(&reports, started.elapsed());
    let ending = reporter.finish(&reports, started.elapsed());
    let unpacked = match rejection {
        Rejection::Unpack { .. } => Err(rejection.clone()),
        _ => Ok(()),
    };
    let status = report_status(&request.capabilities, &ending.text, &unpacked, &ending.results);
    git_response(RESULT, Body::from(status))
}

/// Runs a push and reports to the client while it is connected.
async fn run_push(
    push: ReceivedPush,
    deployer: Deployer,
    limits: PushLimits,
    permits: FairSemaphore,
    output: DuplexStream,
) {
    let capabilities = push.request.capabilities.clone();
    let commands = push.request.commands.clone();
    let mut reporter = PushReporter::new(
        push.holder.app.clone(),
        push.pusher.actor.name.clone(),
        push.urls.clone(),
        capabilities.quiet(),
    );
    let (started, numbers) = (push.started, Arc::clone(&push.numbers));
    let (tell, events) = EventSender::channel();
    let span = tracing::trace_span!(target: TARGET, "push", app = %push.holder.app, rejected = Empty);
    // Spawned: a client that reads slowly does not delay the deploy, and a disconnect cancels it only before anything has changed.
    let task = tokio::spawn(deploy(push, deployer, limits, permits, tell).instrument(span.clone()));
    let (mut input, mut output) = tokio::io::split(output);
    tokio::select! {
        () = send_events(events, &capabilities, &mut reporter, &mut output) => {}
        // Drops the receiver of events, which cancels the deploy.
        () = client_disconnected(&mut input) => {}
    }
    let PushReport { unpacked, reports } = task.await.unwrap_or_else(|error| {
        let incident = uuid::Uuid::new_v4();
        tracing::error!(%incident, %error, "push task panicked");
        let rejection = Rejection::OutcomeUnknown;
        PushReport { unpacked: Ok(()), reports: RefReport::reject_all(&commands, &rejection) }
    });
    numbers.observe_push(&reports, started.elapsed());
    let is_rejected = |verdict: &RefReport| matches!(verdict.outcome, Outcome::Rejected(_));
    span.record("rejected", reports.iter().any(is_rejected));
    drop(span);
    let ending = reporter.finish(&reports, started.elapsed());
    let status = report_status(&capabilities, &ending.text, &unpacked, &ending.results);
    let _ = output.write_all(&status).await;
}

/// Sends progress events to the client, and keepalives between them.
async fn send_events(
    mut events: UnboundedReceiver<Event>,
    capabilities: &Capabilities,
    reporter: &mut PushReporter,
    output: &mut WriteHalf<DuplexStream>,
) {
    loop {
        let bytes = match tokio::time::timeout(KEEPALIVE_INTERVAL, events.recv()).await {
            Ok(Some(event)) => report::progress(capabilities, &reporter.event(&event)),
            Ok(None) => return,
            Err(_) => report::keepalive(capabilities),
        };
        if output.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Completes when the client no longer reads the response; nothing is ever sent in this direction.
async fn client_disconnected(input: &mut ReadHalf<DuplexStream>) {
    while input.read(&mut [0]).await.is_ok_and(|read| read > 0) {}
}

/// The end of the response: the last progress messages and git's report-status.
fn report_status(
    capabilities: &Capabilities,
    text: &str,
    unpacked: &Result<(), Rejection>,
    results: &[(String, Result<(), String>)],
) -> Vec<u8> {
    let results: Vec<_> = results.iter().map(|(name, result)| (name.as_str(), result.clone())).collect();
    let unpacked = unpacked.as_ref().copied().map_err(|rejection| match rejection {
        Rejection::Unpack { reason, .. } | Rejection::Unavailable { reason } => reason.as_str(),
        Rejection::NoMemory(_) => "out of memory",
        Rejection::ShallowHistory(_) => "missing necessary objects",
        _ => "the server cannot read its repository",
    });
    [report::progress(capabilities, text), report::report(capabilities, unpacked, &results)].concat()
}

/// Unpacks and deploys a push once it has its memory and its permit.
async fn deploy(
    push: ReceivedPush,
    deployer: Deployer,
    limits: PushLimits,
    permits: FairSemaphore,
    tell: EventSender,
) -> PushReport {
    let ReceivedPush { holder, request, body, pusher, slot, memory, .. } = push;
    let commands = request.commands.clone();
    let rejected =
        |rejection| PushReport { unpacked: Ok(()), reports: RefReport::reject_all(&commands, &rejection) };
    let admit = async {
        let push = deployer.admit(&holder.app, request, body.into_pack().await).await?;
        match tokio::time::timeout(PERMIT_WAIT_MAX, permits.acquire(&holder)).await {
            Ok(permit) => Ok((push, permit)),
            Err(_) => Err(rejected(Rejection::NoSlot)),
        }
    };
    let admitted = tokio::select! {
        admitted = admit => admitted,
        () = slot.evicted() => Err(rejected(Rejection::Evicted)),
        () = tell.closed() => Err(rejected(Rejection::ClientDisconnected)),
    };
    let (push, _permit) = match admitted {
        Ok(admitted) => admitted,
        Err(rejected) => return rejected,
    };
    slot.pin();
    drop(memory);
    deployer.receive(&holder.app, push, &limits.limits, &pusher, &tell).await
}
