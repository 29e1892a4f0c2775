//! A push: taken in whole, then carried out while the client is told how it goes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use git_receiver::{Capabilities, Request as PushRequest, UnpackError, report};
use manifest_schema::name::AppName;
use platform::deploy::{Deployed, Deployer, Event, Outcome, Pusher, Rejection, Tell, Verdict};
use platform::executor::Holder;
use platform::executor::fair_turns::FairTurns;
use platform::executor::places::Place;
use platform::memory::{Purpose, Reservation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::io::ReaderStream;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::error::GitError;
use super::spool::{NotSpooled, SpoolBounds, SpoolError, Spooled, discard, spool};
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

/// How many times as long as it came a push can be: packs are compressed already, and git compresses nothing else of a push.
const RATIO_MAX: u64 = 10;

/// How long what a push asks for can take to come, and how much of it is kept, where it is refused before it is taken in.
const REFUSED_HEAD_TIME: Duration = Duration::from_secs(5);
const REFUSED_HEAD_BYTES_MAX: usize = 64 * 1024;

const RESULT: &str = "application/x-git-receive-pack-result";

/// A push that has arrived whole.
struct Arrived {
    holder: Holder,
    request: PushRequest,
    body: Spooled,
    pusher: Pusher,
    addresses: Addresses,
    started: Instant,
    /// Held to the end: what waits and what is worked on takes room as what arrives does.
    place: Place,
    /// Held until its turn has come.
    arriving: Reservation,
    numbers: Arc<Numbers>,
}

/// Takes a push in and carries it out.
pub(super) async fn receive(
    git: &GitEdge,
    holder: Holder,
    caller: Caller,
    addresses: Addresses,
    request: Request<Body>,
) -> Result<Response<Body>, GitError> {
    let started = Instant::now();
    let app = holder.app.clone();
    let words = PushWords::new(app.clone(), caller.actor.name.clone(), addresses.clone(), false);
    let (place, arriving) = match admit(git, &holder).await {
        Ok(admitted) => admitted,
        Err(error) => return refuse(git, words, request, error).await,
    };
    let mut body = plain_body(request, RATIO_MAX)?;
    let bounds = &git.pushes.bounds;
    let mut body = match spool(&mut body, &spooling(git), &place).await {
        Ok(body) => body,
        Err(NotSpooled { error, head }) => {
            let rejection = not_spooled(&app, &error, git);
            let read = git_receiver::read_request(&mut head.as_slice(), &bounds.limits).await;
            let Ok(Some(request)) = read else { return Err(GitError::NotReceived(error)) };
            return Ok(reject(git, &words, &request, &rejection, started));
        }
    };
    let request = match git_receiver::read_request(&mut body, &bounds.limits).await {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(git_reply(RESULT, Body::empty())),
        Err(error) => {
            tracing::info!(%app, %error, "push not understood");
            return Err(GitError::NotAPush(error));
        }
    };
    if let Some(fault) = request.fault {
        let refused = UnpackError::from(fault);
        let rejection = Rejection::Unpack { why: refused.to_string(), limit: refused.limit() };
        return Ok(reject(git, &words, &request, &rejection, started));
    }
    let pusher =
        Pusher { caller: caller.who, actor: caller.actor, creates: git.pushes.create_apps, message: None };
    let arrived = Arrived {
        holder,
        request,
        body,
        pusher,
        addresses,
        started,
        place,
        arriving,
        numbers: Arc::clone(&git.pushes.numbers),
    };
    let (output, input) = tokio::io::duplex(ANSWER_BUFFER);
    let (deployer, bounds, turns) = (git.deployer.clone(), git.pushes.bounds.clone(), git.turns.clone());
    // What is traced of the push belongs to this request, which is answered while the push goes on.
    let work = carry_out(arrived, deployer, bounds, turns, output).in_current_span();
    git.pushes.threads.handle().spawn(work);
    Ok(git_reply(RESULT, Body::from_stream(ReaderStream::new(input))))
}

/// A place and some memory for a push that arrives.
async fn admit(git: &GitEdge, holder: &Holder) -> Result<(Place, Reservation), GitError> {
    let place = git.arriving.try_enter(holder).map_err(|_| GitError::TooManyPushes)?;
    let account = git.apps.repository(&holder.app).await?.account(&git.memory);
    Ok((place, account.try_reserve(Purpose::Pushes, ARRIVING_BYTES)?))
}

fn spooling(git: &GitEdge) -> SpoolBounds<'_> {
    let bounds = &git.pushes.bounds;
    SpoolBounds {
        bytes: bounds.request_max(),
        time: bounds.time,
        min_rate: git.min_rate,
        folder: &git.pushes.spool,
    }
}

/// Refuses a push in git's way that is not taken in: to an error of HTTP, git adds that everything is up to date, and shows nothing of
/// what was said. Where that is no push, or too many are refused at once, it is the error.
pub(super) async fn refuse(
    git: &GitEdge,
    words: PushWords,
    request: Request<Body>,
    error: GitError,
) -> Result<Response<Body>, GitError> {
    let started = Instant::now();
    let Some(rejection) = error.rejection() else { return Err(error) };
    let Ok(_refusing) = git.refusing.try_acquire() else { return Err(error) };
    let mut body = plain_body(request, RATIO_MAX)?;
    // What a client asks for, it sends at once.
    let limits =
        git_receiver::Limits { head_bytes: REFUSED_HEAD_BYTES_MAX, ..git.pushes.bounds.limits.clone() };
    let reading = tokio::time::timeout(REFUSED_HEAD_TIME, git_receiver::read_request(&mut body, &limits));
    let Ok(Ok(Some(request))) = reading.await else { return Err(error) };
    discard(&mut body, &spooling(git)).await;
    Ok(reject(git, &words, &request, &rejection, started))
}

/// Why a push is rejected that was not taken in.
fn not_spooled(app: &AppName, error: &SpoolError, git: &GitEdge) -> Rejection {
    match error {
        SpoolError::Keep(source) => {
            let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let incident = uuid::Uuid::new_v4();
            tracing::error!(%app, %incident, error = %source, "a push cannot be kept in the data folder");
            if full { Rejection::DiskFull } else { Rejection::Internal { incident } }
        }
        other => {
            tracing::info!(%app, error = %other, "push not received");
            match other {
                SpoolError::NoRoom => Rejection::NoRoomBeside,
                SpoolError::GaveWay => Rejection::GaveWay,
                SpoolError::Slow => Rejection::TooSlow {
                    time: git.pushes.bounds.time,
                    min_rate: git.min_rate.bytes_per_second,
                },
                SpoolError::Cut(_) | SpoolError::Keep(_) => {
                    Rejection::Unpack { why: other.to_string(), limit: None }
                }
            }
        }
    }
}

/// The whole answer to a push of which nothing is carried out.
fn reject(
    git: &GitEdge,
    words: &PushWords,
    request: &PushRequest,
    rejection: &Rejection,
    started: Instant,
) -> Response<Body> {
    let verdicts = Verdict::reject_all(&request.commands, rejection);
    git.pushes.numbers.pushed(&verdicts, started.elapsed());
    let ending = words.ending(&verdicts, started.elapsed());
    let unpacked = match rejection {
        Rejection::Unpack { .. } => Err(rejection.clone()),
        _ => Ok(()),
    };
    git_reply(RESULT, Body::from(said(&request.capabilities, &ending.text, &unpacked, &ending.results)))
}

/// Carries out a push and tells the client, for as long as it listens.
async fn carry_out(
    arrived: Arrived,
    deployer: Deployer,
    bounds: PushBounds,
    turns: FairTurns,
    output: DuplexStream,
) {
    let capabilities = arrived.request.capabilities.clone();
    let commands = arrived.request.commands.clone();
    let mut words = PushWords::new(
        arrived.holder.app.clone(),
        arrived.pusher.actor.name.clone(),
        arrived.addresses.clone(),
        capabilities.quiet(),
    );
    let (started, numbers) = (arrived.started, Arc::clone(&arrived.numbers));
    let (tell, events) = Tell::channel();
    // In a task of its own: a client that reads slowly does not stop it halfway, and one that hangs up only where nothing has changed.
    let push = tracing::trace_span!(target: TARGET, "push", app = %arrived.holder.app, rejected = Empty);
    let deploying = tokio::spawn(deploy(arrived, deployer, bounds, turns, tell).instrument(push.clone()));
    let (mut input, mut output) = tokio::io::split(output);
    tokio::select! {
        () = tell_events(events, &capabilities, &mut words, &mut output) => {}
        // Then nobody receives the events any more, from which the deployer knows it.
        () = hung_up(&mut input) => {}
    }
    let Deployed { unpacked, verdicts } = deploying.await.unwrap_or_else(|error| {
        let incident = uuid::Uuid::new_v4();
        tracing::error!(%incident, %error, "a push ended in a panic");
        let rejection = Rejection::OutcomeUnknown;
        Deployed { unpacked: Ok(()), verdicts: Verdict::reject_all(&commands, &rejection) }
    });
    numbers.pushed(&verdicts, started.elapsed());
    let rejected = |verdict: &Verdict| matches!(verdict.outcome, Outcome::Rejected(_));
    push.record("rejected", verdicts.iter().any(rejected));
    drop(push);
    let ending = words.ending(&verdicts, started.elapsed());
    let _ = output.write_all(&said(&capabilities, &ending.text, &unpacked, &ending.results)).await;
}

/// Tells the client what happens, and that it goes on where nothing does.
async fn tell_events(
    mut events: UnboundedReceiver<Event>,
    capabilities: &Capabilities,
    words: &mut PushWords,
    output: &mut WriteHalf<DuplexStream>,
) {
    loop {
        let bytes = match tokio::time::timeout(KEEPALIVE, events.recv()).await {
            Ok(Some(event)) => report::progress(capabilities, &words.event(&event)),
            Ok(None) => return,
            Err(_) => report::keepalive(capabilities),
        };
        if output.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Ends when nobody reads the answer any more: nothing comes on this way.
async fn hung_up(input: &mut ReadHalf<DuplexStream>) {
    while input.read(&mut [0]).await.is_ok_and(|read| read > 0) {}
}

fn said(
    capabilities: &Capabilities,
    text: &str,
    unpacked: &Result<(), Rejection>,
    results: &[(String, Result<(), String>)],
) -> Vec<u8> {
    let results: Vec<_> = results.iter().map(|(name, result)| (name.as_str(), result.clone())).collect();
    let unpacked = unpacked.as_ref().copied().map_err(|rejection| match rejection {
        Rejection::Unpack { why, .. } | Rejection::Unavailable { why } => why.as_str(),
        Rejection::NoMemory(_) => "there is no memory for it",
        Rejection::HistoryEnds(_) => "missing necessary objects",
        _ => "the server cannot read its repository",
    });
    [report::progress(capabilities, text), report::report(capabilities, unpacked, &results)].concat()
}

/// Hands a push over to be unpacked and deployed when there is memory for it, and its turn comes.
async fn deploy(
    arrived: Arrived,
    deployer: Deployer,
    bounds: PushBounds,
    turns: FairTurns,
    tell: Tell,
) -> Deployed {
    let Arrived { holder, request, body, pusher, place, arriving, .. } = arrived;
    let commands = request.commands.clone();
    let rejected =
        |rejection| Deployed { unpacked: Ok(()), verdicts: Verdict::reject_all(&commands, &rejection) };
    let waiting = async {
        let push = deployer.admit(&holder.app, request, body.into_pack().await).await?;
        match tokio::time::timeout(TURN_WAIT_MAX, turns.next(&holder)).await {
            Ok(turn) => Ok((push, turn)),
            Err(_) => Err(rejected(Rejection::NoSlot)),
        }
    };
    let waited = tokio::select! {
        waited = waiting => waited,
        () = place.given_way() => Err(rejected(Rejection::GaveWay)),
        () = tell.unheard() => Err(rejected(Rejection::Unheard)),
    };
    let (push, _turn) = match waited {
        Ok(waited) => waited,
        Err(rejected) => return rejected,
    };
    place.settle();
    drop(arriving);
    deployer.receive(&holder.app, push, &bounds.limits, &pusher, &tell).await
}
