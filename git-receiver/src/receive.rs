//! The journey of a push, from a request body to a [`Push`] (gitprotocol-pack, "Reference Update Request"), in two steps:
//! [`read_request`] learns what the client wants, after which it can be told that work goes on, and [`unpack`] does the work.

use std::collections::{HashMap, HashSet};

use gix_hash::ObjectId;
use tokio::io::AsyncRead;

use crate::capability::Capabilities;
use crate::check::{self, BadObject, Special};
use crate::command::{Command, JudgedCommand, NotACommand, judge};
use crate::pack::{Pack, PackBytes};
use crate::pack_end::PackReader;
use crate::pkt_line::{self, Frame, FrameError};
use crate::unpack::{Bases, Resolved, Scanned, UnpackError, resolve, scan};
use crate::{Kind, Known, Limits, Repository, RepositoryError, connectivity, content, links};

/// The most options of one push, and the longest of them.
const OPTIONS_MAX: usize = 64;

/// How many bases of a thin pack are asked for at once.
const BASES_AT_ONCE: usize = 64;

/// How many stored blobs are held in memory while they are checked.
const SPECIAL_AT_ONCE: usize = 8;

/// How many objects a repository is asked for at once.
const ASKED_AT_ONCE: usize = 10_000;

/// What a request to receive-pack turned out to be.
#[derive(Debug)]
pub enum Received {
    /// A client that sends much asks first whether it may, and one that is shallow tells so even where it moves nothing; it wants an
    /// empty answer.
    Probe,
    /// A push.
    Push(Push),
}

/// A push that was received, and has changed nothing.
#[derive(Debug)]
pub struct Push {
    /// What the client wants.
    pub request: Request,
    /// What it brings, or why that was not unpacked.
    pub unpacked: Result<UnpackedPush, UnpackError>,
}

/// A push whose objects are unpacked and checked, and whose commands are judged. It has changed nothing.
#[derive(Debug)]
pub struct UnpackedPush {
    /// The refs to be moved, in the order in which they came.
    pub commands: Vec<JudgedCommand>,
    /// Commits of the pack whose parents neither the client nor the repository has.
    pub shallow: Vec<ObjectId>,
    /// Commits at which the history of the repository ended, and whose parents are all there with this push.
    pub unshallow: Vec<ObjectId>,
    /// The objects of the pack that the repository does not have.
    pub pack: Pack,
}

/// A request that cannot even be answered in git's own way.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It is not git's protocol.
    #[error("not a push: {0}")]
    Protocol(String),
    /// The body ended early or could not be read.
    #[error("the push was cut off: {0}")]
    Cut(std::io::Error),
}

impl From<FrameError> for ReceiveError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Cut(error),
            error => Self::Protocol(error.to_string()),
        }
    }
}

impl From<NotACommand> for ReceiveError {
    fn from(error: NotACommand) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Receives a push in one go. `body` is the request without HTTP's compression. Nothing is changed.
///
/// # Errors
/// The body is not a push, or ends early. A pack that was not unpacked is no error: the client is told in the answer, which
/// it reads only when its whole request was read.
pub async fn receive<R: Repository>(
    repository: &R,
    body: impl AsyncRead + Send + Unpin,
    limits: &Limits,
) -> Result<Received, ReceiveError> {
    let mut body = body;
    match read_request(&mut body, limits).await? {
        Some(request) => {
            let pack = take_in(&request, &mut body, limits).await?;
            let unpacked = unpack(repository, &request, pack, limits).await;
            Ok(Received::Push(Push { request, unpacked }))
        }
        None => Ok(Received::Probe),
    }
}

/// As [`receive`], over a connection that the client may keep open: nothing behind the pack is waited for.
/// [`Received::Probe`] then means that the client has nothing to push.
///
/// # Errors
/// As those of [`receive`].
pub async fn receive_over_connection<R: Repository>(
    repository: &R,
    input: impl AsyncRead + Send + Unpin,
    limits: &Limits,
) -> Result<Received, ReceiveError> {
    let mut input = input;
    let Some(request) = read_request(&mut input, limits).await? else { return Ok(Received::Probe) };
    let pack = take_in(&request, &mut PackReader::new(input, limits.inflated_bytes), limits).await?;
    let unpacked = unpack(repository, &request, pack, limits).await;
    Ok(Received::Push(Push { request, unpacked }))
}

/// The pack that follows `request`, if one does.
async fn take_in(
    request: &Request,
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<PackBytes, ReceiveError> {
    if !request.brings_a_pack() {
        return Ok(PackBytes::default());
    }
    PackBytes::take_in(body, limits.request_bytes).await.map_err(ReceiveError::Cut)
}

/// Unpacks the `pack` that followed `request`, and judges its commands. Nothing is changed.
///
/// # Errors
/// The pack is refused, or the repository cannot be read.
pub async fn unpack<R: Repository>(
    repository: &R,
    request: &Request,
    pack: PackBytes,
    limits: &Limits,
) -> Result<UnpackedPush, UnpackError> {
    let (pack, Boundary { shallow, unshallow }) = unpack_pack(repository, request, pack, limits).await?;
    let new = || request.commands.iter().filter_map(|command| command.new);
    let mut kinds: HashMap<ObjectId, Kind> = new().filter_map(|id| Some((id, pack.kind(&id)?))).collect();
    let elsewhere: Vec<ObjectId> = new().filter(|id| !kinds.contains_key(id)).collect();
    kinds.extend(repository.known(&elsewhere).await?.into_iter().map(|(id, known)| (id, known.kind)));
    let commands = judge(request.commands.clone(), &kinds, &repository.refs().await?);
    Ok(UnpackedPush { commands, shallow, unshallow, pack })
}

/// Where the history of the repository ends after a push, as far as that changes.
#[derive(Default)]
struct Boundary {
    shallow: Vec<ObjectId>,
    unshallow: Vec<ObjectId>,
}

/// Unpacks, checks and connects the pack: its objects that the repository does not have.
async fn unpack_pack<R: Repository>(
    repository: &R,
    request: &Request,
    pack: PackBytes,
    limits: &Limits,
) -> Result<(Pack, Boundary), UnpackError> {
    if !request.brings_a_pack() {
        return Ok(Default::default());
    }
    if pack.length() > limits.request_bytes {
        return Err(UnpackError::TooLarge { limit: limits.request_bytes });
    }
    if request.capabilities.object_format() != "sha1" {
        return Err(UnpackError::ObjectFormat);
    }
    let ends = repository.shallow().await?;
    let shallow: HashSet<ObjectId> = request.shallow.iter().chain(&ends).copied().collect();
    // Inflating and hashing take their time; the async workers are for waiting.
    let (bounds, memory) = (limits.clone(), repository.memory());
    let scanning = off_the_workers(move || Ok((scan(pack, &shallow, &bounds, &memory)?, shallow)));
    let (mut scanned, shallow) = scanning.await?;
    let bases = read_bases(repository, &mut scanned, limits).await?;
    let bounds = limits.clone();
    let resolved = off_the_workers(move || resolve(scanned, bases, &shallow, &bounds)).await?;
    let known = known(repository, &resolved).await?;
    connectivity::check(resolved.links(), &known)?;
    let (resolved, boundary) = boundary(repository, &request.shallow, ends, resolved).await?;
    let resolved = check_special(repository, resolved).await?;
    let pack = off_the_workers(move || resolved.settle(&known)).await?;
    Ok((pack, boundary))
}

/// Finds out where the history ends: at those of the client's `shallow` commits that came with the pack, and at the `ends` of the
/// repository, as far as their parents are not there. A client that has a part of the history only can well push on top of what
/// the repository has, and another one brings the rest later.
async fn boundary<R: Repository>(
    repository: &R,
    shallow: &[ObjectId],
    ends: Vec<ObjectId>,
    resolved: Resolved,
) -> Result<(Resolved, Boundary), UnpackError> {
    if !resolved.has_commits() || shallow.is_empty() && ends.is_empty() {
        return Ok((resolved, Boundary::default()));
    }
    let mut parents: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    content::each(repository, &ends, |id, _, content| {
        parents.insert(id, links::commit(id, content)?.parents);
        Ok::<_, UnpackError>(())
    })
    .await?;
    // A line that names no commit of the pack says nothing; kept, it would stop git where it reads the list.
    let shallow = resolved.commits_among(shallow);
    let (resolved, mut parents) = off_the_workers(move || {
        resolved.each_content(&shallow, |id, content| {
            parents.insert(id, links::commit(id, content)?.parents);
            Ok(())
        })?;
        Ok((resolved, parents))
    })
    .await?;
    let outside: Vec<ObjectId> =
        parents.values().flatten().filter(|id| !resolved.links().holds(id)).copied().collect();
    let mut known = HashSet::new();
    for some in outside.chunks(ASKED_AT_ONCE) {
        known.extend(repository.known(some).await?.into_keys());
    }
    let is_there = |id: &ObjectId| known.contains(id) || resolved.links().holds(id);
    let ends: HashSet<ObjectId> = ends.into_iter().collect();
    parents.retain(|id, parents| ends.contains(id) == parents.iter().all(is_there));
    let (unshallow, shallow) = parents.into_keys().partition(|id| ends.contains(id));
    Ok((resolved, Boundary { shallow, unshallow }))
}

/// What a client wants, from before its pack.
#[derive(Clone, Debug)]
pub struct Request {
    /// The refs to be moved.
    pub commands: Vec<Command>,
    /// What the client can and wants.
    pub capabilities: Capabilities,
    /// What the user said with `git push --push-option`.
    pub options: Vec<String>,
    shallow: Vec<ObjectId>,
}

impl Request {
    /// Whether a pack follows: where something is only deleted there is none.
    fn brings_a_pack(&self) -> bool {
        self.commands.iter().any(|command| command.new.is_some())
    }
}

/// Reads what comes before the pack; `None` for a probe, or where nothing is to be moved: the client wants an empty answer.
///
/// # Errors
/// The body is not a push, or ends early.
pub async fn read_request(
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<Option<Request>, ReceiveError> {
    let mut commands = Vec::new();
    let mut shallow = Vec::new();
    let mut capabilities = Capabilities::default();
    loop {
        let line = match pkt_line::read(body).await? {
            Frame::Line(line) => line,
            Frame::Flush => break,
            Frame::Delimiter | Frame::ResponseEnd => {
                return Err(ReceiveError::Protocol("unexpected mark".to_owned()));
            }
        };
        let line = pkt_line::text(&line);
        if let Some(id) = line.strip_prefix(b"shallow ") {
            let id =
                ObjectId::from_hex(id).map_err(|_| ReceiveError::Protocol("bad shallow line".to_owned()))?;
            shallow.push(id);
        } else if line.starts_with(b"push-cert") {
            return Err(ReceiveError::Protocol("signed pushes are not understood".to_owned()));
        } else {
            let mut parts = line.splitn(2, |byte| *byte == 0);
            let command = Command::parse(pkt_line::text(parts.next().unwrap_or_default()))?;
            if let Some(list) = parts.next().filter(|_| commands.is_empty()) {
                capabilities = Capabilities::parse(list);
            }
            commands.push(command);
        }
        if commands.len() > limits.commands || shallow.len() > limits.objects {
            return Err(ReceiveError::Protocol(format!("more than {} refs in one push", limits.commands)));
        }
    }
    // A shallow client whose refs are all up to date, or refused by itself, sends where its history ends all the same.
    if commands.is_empty() {
        return Ok(None);
    }
    let options = if capabilities.push_options() { read_options(body).await? } else { Vec::new() };
    Ok(Some(Request { commands, capabilities, options, shallow }))
}

async fn read_options(body: &mut (impl AsyncRead + Send + Unpin)) -> Result<Vec<String>, ReceiveError> {
    let mut options = Vec::new();
    loop {
        match pkt_line::read(body).await? {
            Frame::Line(line) if options.len() < OPTIONS_MAX => {
                options.push(String::from_utf8_lossy(pkt_line::text(&line)).into_owned());
            }
            Frame::Flush => return Ok(options),
            _ => return Err(ReceiveError::Protocol(format!("more than {OPTIONS_MAX} push options"))),
        }
    }
}

/// The objects of the repository on which the pack builds. A thin pack names them instead of sending them, so they are part of
/// what is inflated for it, and a small pack may name many large ones.
async fn read_bases<R: Repository>(
    repository: &R,
    scanned: &mut Scanned,
    limits: &Limits,
) -> Result<Bases, UnpackError> {
    let mut bases = Bases::new();
    let mut inflated = scanned.inflated(limits);
    for some in scanned.foreign_bases().chunks(BASES_AT_ONCE) {
        // What is about to be deleted can still be read, but is not there to build on.
        let known = repository.known(some).await?;
        let some: Vec<ObjectId> = some.iter().copied().filter(|id| known.contains_key(id)).collect();
        let some = some.as_slice();
        let stored = repository.objects_and_bases(some).await?;
        content::build(&stored, &repository.memory(), |object, content| {
            if some.contains(&object.id) {
                inflated.add(content.len() as u64)?;
                scanned.hold(content.len() as u64)?;
                bases.insert(object.id, (object.kind, content.to_vec()));
            }
            Ok::<_, UnpackError>(())
        })?;
    }
    Ok(bases)
}

/// What the repository has of a pack and of what its objects name and build on.
async fn known<R: Repository>(
    repository: &R,
    resolved: &Resolved,
) -> Result<HashMap<ObjectId, Known>, RepositoryError> {
    let named = resolved.links().targets().chain(resolved.bases());
    let mut asked: Vec<ObjectId> = named.chain(resolved.ids()).collect();
    asked.sort_unstable();
    asked.dedup();
    let mut known = HashMap::new();
    for some in asked.chunks(ASKED_AT_ONCE) {
        known.extend(repository.known(some).await?);
    }
    Ok(known)
}

/// Checks the blobs that git itself reads by the names they bear in the pack's trees, those that were stored before too.
async fn check_special<R: Repository>(repository: &R, resolved: Resolved) -> Result<Resolved, UnpackError> {
    let mut special: HashMap<ObjectId, Vec<Special>> = HashMap::new();
    for (id, kind) in resolved.links().special() {
        special.entry(id).or_default().push(kind);
    }
    if special.is_empty() {
        return Ok(resolved);
    }
    let ids: Vec<ObjectId> = special.keys().copied().collect();
    let judge = move |id: ObjectId, content: &[u8]| {
        let judged = special[&id].iter().try_for_each(|special| check::special(*special, content));
        judged.map_err(|BadObject(why)| UnpackError::BadObject { id, why })
    };
    for some in ids.chunks(SPECIAL_AT_ONCE) {
        content::each(repository, some, |id, _, content| judge(id, content)).await?;
    }
    off_the_workers(move || resolved.each_content(&ids, judge).map(|()| resolved)).await
}

async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnpackError> + Send + 'static,
) -> Result<T, UnpackError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(UnpackError::Died))
}
