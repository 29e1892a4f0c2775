//! A push: taken in whole, then carried out while the client is told how it goes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use git_receiver::{Capabilities, Request as PushRequest, report};
use manifest_schema::name::AppName;
use platform::deploy::{Deployed, Deployer, Outcome, Pusher, Rejection, Tell, Verdict};
use platform::executor::turns::{AppTurns, Turn};
use platform::memory::{Purpose, Reservation};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio_util::io::ReaderStream;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::error::GitError;
use super::spool::{SpoolError, Spooled, spool};
use super::state::{GitEdge, PushBounds};
use super::wire::{ANSWER_BUFFER, git_reply, plain_body};
use crate::edge::credentials::Caller;
use crate::numbers::Numbers;
use crate::traces::TARGET;
use crate::words::addresses::Addresses;
use crate::words::push::PushWords;

/// How often a silent server says that it is still there.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What a push that arrives holds of its app's memory: what is kept of it there, what was read last, and what inflates it.
const ARRIVING_BYTES: u64 = 192 * 1024;

/// How long a push waits for those before it to be unpacked.
const TURN_WAIT_MAX: Duration = Duration::from_secs(60);

/// What may stand before a pack: commands, options, shallow commits.
const COMMANDS_BYTES: u64 = 2 * 1024 * 1024;

const RESULT: &str = "application/x-git-receive-pack-result";

/// A push that has arrived whole.
struct Arrived {
    app: AppName,
    request: PushRequest,
    body: Spooled,
    pusher: Pusher,
    addresses: Addresses,
    started: Instant,
    /// Held until its turn has come: what waits takes room as what arrives does.
    arriving: (Turn, Reservation),
    numbers: Arc<Numbers>,
}

/// Takes a push in and carries it out.
pub(super) async fn receive(
    git: &GitEdge,
    app: AppName,
    caller: Caller,
    addresses: Addresses,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    let started = Instant::now();
    let arriving = git.arriving.of(&app).try_next().ok_or(GitError::TooManyPushes)?;
    let account = git.apps.repository(&app).await?.account(&git.memory);
    let arriving = (arriving, account.try_reserve(Purpose::Pushes, ARRIVING_BYTES)?);
    let mut body = plain_body(request)?;
    let most = git.pushes.bounds.limits.request_bytes.saturating_add(COMMANDS_BYTES);
    let mut body = match spool(&mut body, most, git.pushes.bounds.time, &git.pushes.spool).await {
        Ok(body) => body,
        Err(SpoolError::Keep { source, head }) => {
            let words = PushWords::new(app.clone(), caller.actor.name.clone(), addresses, false);
            let limits = &git.pushes.bounds.limits;
            let answered = not_kept(&app, &source, &head, limits, &words, started).await;
            return answered.ok_or(GitError::NotReceived(SpoolError::Keep { source, head }));
        }
        Err(error) => {
            tracing::info!(%app, %error, "push not received");
            return Err(GitError::NotReceived(error));
        }
    };
    let request = match git_receiver::read_request(&mut body, &git.pushes.bounds.limits).await {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(git_reply(RESULT, Body::empty())),
        Err(error) => {
            tracing::info!(%app, %error, "push not understood");
            return Err(GitError::NotAPush(error));
        }
    };
    let pusher =
        Pusher { caller: caller.who, actor: caller.actor, creates: git.pushes.create_apps, message: None };
    let arrived = Arrived {
        app,
        request,
        body,
        pusher,
        addresses,
        started,
        arriving,
        numbers: Arc::clone(&git.pushes.numbers),
    };
    let (output, input) = tokio::io::duplex(ANSWER_BUFFER);
    let (deployer, bounds, turns) =
        (git.deployer.clone(), git.pushes.bounds.clone(), git.turns.of(&arrived.app));
    // What is traced of the push belongs to this request, which is answered while the push goes on.
    let work = carry_out(arrived, deployer, bounds, turns, output).in_current_span();
    git.pushes.threads.handle().spawn(work);
    Ok(git_reply(RESULT, Body::from_stream(ReaderStream::new(input))))
}

/// Says in git's way that there is no room for a push: to an error of HTTP, git adds that everything is up to date. `None`: what
/// the client asks for is not in `head`.
async fn not_kept(
    app: &AppName,
    error: &io::Error,
    mut head: &[u8],
    limits: &git_receiver::Limits,
    words: &PushWords,
    started: Instant,
) -> Option<Response<Body>> {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let incident = uuid::Uuid::new_v4();
    tracing::error!(%app, %incident, %error, "a push cannot be kept in the data folder");
    let rejection = if full { Rejection::DiskFull } else { Rejection::Internal { incident } };
    let request = git_receiver::read_request(&mut head, limits).await.ok().flatten()?;
    let verdicts = Verdict::reject_all(&request.commands, &rejection);
    let ending = words.ending(&verdicts, started.elapsed());
    Some(git_reply(RESULT, Body::from(said(&request.capabilities, &ending.text, &Ok(()), &ending.results))))
}

/// Carries out a push and tells the client, for as long as it listens.
async fn carry_out(
    arrived: Arrived,
    deployer: Deployer,
    bounds: PushBounds,
    turns: AppTurns,
    mut output: DuplexStream,
) {
    let capabilities = arrived.request.capabilities.clone();
    let mut words = PushWords::new(
        arrived.app.clone(),
        arrived.pusher.actor.name.clone(),
        arrived.addresses.clone(),
        capabilities.quiet(),
    );
    let (started, numbers) = (arrived.started, Arc::clone(&arrived.numbers));
    let (tell, mut events) = Tell::channel();
    // In a task of its own: a client that hangs up now, or reads slowly, does not stop it halfway.
    let push = tracing::trace_span!(target: TARGET, "push", app = %arrived.app, rejected = Empty);
    let deploying = tokio::spawn(deploy(arrived, deployer, bounds, turns, tell).instrument(push.clone()));
    loop {
        let bytes = match tokio::time::timeout(KEEPALIVE, events.recv()).await {
            Ok(Some(event)) => report::progress(&capabilities, &words.event(&event)),
            Ok(None) => break,
            Err(_) => report::keepalive(&capabilities),
        };
        // A client that is gone is told nothing more; the push goes on.
        let _ = output.write_all(&bytes).await;
    }
    let Ok(Deployed { unpacked, verdicts }) = deploying.await else {
        tracing::error!("a push ended in a panic; nothing is known of it");
        return;
    };
    numbers.pushed(&verdicts, started.elapsed());
    let rejected = |verdict: &Verdict| matches!(verdict.outcome, Outcome::Rejected(_));
    push.record("rejected", verdicts.iter().any(rejected));
    drop(push);
    let ending = words.ending(&verdicts, started.elapsed());
    let _ = output.write_all(&said(&capabilities, &ending.text, &unpacked, &ending.results)).await;
}

fn said(
    capabilities: &Capabilities,
    text: &str,
    unpacked: &Result<(), Rejection>,
    results: &[(String, Result<(), String>)],
) -> Vec<u8> {
    let results: Vec<_> = results.iter().map(|(name, result)| (name.as_str(), result.clone())).collect();
    let unpacked = unpacked.as_ref().copied().map_err(|rejection| match rejection {
        Rejection::Unpack(why) | Rejection::Unavailable { why } => why.as_str(),
        Rejection::NoMemory(_) => "there is no memory for it",
        _ => "the server cannot read its repository",
    });
    [report::progress(capabilities, text), report::report(capabilities, unpacked, &results)].concat()
}

/// Hands a push over to be unpacked and deployed when there is memory for it, and its turn comes.
async fn deploy(
    arrived: Arrived,
    deployer: Deployer,
    bounds: PushBounds,
    turns: AppTurns,
    tell: Tell,
) -> Deployed {
    let Arrived { app, request, body, pusher, arriving, .. } = arrived;
    let push = match deployer.admit(&app, request, body.into_pack().await).await {
        Ok(push) => push,
        Err(rejected) => return rejected,
    };
    let Ok(_turn) = tokio::time::timeout(TURN_WAIT_MAX, turns.next()).await else {
        let verdicts = Verdict::reject_all(push.commands(), &Rejection::NoSlot);
        return Deployed { unpacked: Ok(()), verdicts };
    };
    drop(arriving);
    deployer.receive(&app, push, &bounds.limits, &pusher, &tell).await
}
