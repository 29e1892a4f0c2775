//! The journey of a push, from a request body to a [`Push`] (gitprotocol-pack, "Reference Update Request"), in two steps:
//! [`read_request`] learns what the client wants, after which it can be told that work goes on, and [`unpack()`] does the work.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gix_hash::ObjectId;
use tokio::io::AsyncRead;

use crate::capability::Capabilities;
use crate::check::{self, BadObject, Special};
use crate::command::{CheckedCommand, Command, NotACommand, judge};
use crate::pack::{Pack, PackBytes};
use crate::pack_end::PackReader;
use crate::pkt_line::{self, Frame, FrameError};
use crate::unpack::{self, Bases, FsckWarnings, Resolved, Scanned, UnpackError, resolve, scan};
use crate::{Kind, LimitKind, Limits, ObjectInfo, Repository, RepositoryError, connectivity, content, links};

/// The most options of one push.
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
    Push(Box<Push>),
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
    pub commands: Vec<CheckedCommand>,
    /// Commits of the pack whose parents neither the client nor the repository has.
    pub shallow: Vec<ObjectId>,
    /// Commits at which the history of the repository ended, and whose parents are all there with this push.
    pub unshallow: Vec<ObjectId>,
    /// What fsck warns of in the objects of the pack.
    pub warnings: FsckWarnings,
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
    Io(std::io::Error),
}

impl From<FrameError> for ReceiveError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(error) => Self::Io(error),
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
            let pack = spool(&request, &mut body, limits).await?;
            let unpacked = unpack(repository, &request, pack, limits).await;
            Ok(Received::Push(Box::new(Push { request, unpacked })))
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
    let pack = spool(&request, &mut PackReader::new(input, limits.inflated_bytes), limits).await?;
    let unpacked = unpack(repository, &request, pack, limits).await;
    Ok(Received::Push(Box::new(Push { request, unpacked })))
}

/// The pack that follows `request`, if one does.
async fn spool(
    request: &Request,
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<PackBytes, ReceiveError> {
    if !request.brings_a_pack() {
        return Ok(PackBytes::default());
    }
    PackBytes::spool(body, limits.request_bytes).await.map_err(ReceiveError::Io)
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
    let Unpacked { pack, boundary, warnings } = unpack_pack(repository, request, pack, limits).await?;
    let Boundary { shallow, unshallow } = boundary;
    let new = || request.commands.iter().filter_map(|command| command.new);
    let mut kinds: HashMap<ObjectId, Kind> = new().filter_map(|id| Some((id, pack.kind(&id)?))).collect();
    let elsewhere: Vec<ObjectId> = new().filter(|id| !kinds.contains_key(id)).collect();
    kinds.extend(repository.object_info(&elsewhere).await?.into_iter().map(|(id, known)| (id, known.kind)));
    let commands = judge(request.commands.clone(), &kinds, &repository.refs().await?);
    Ok(UnpackedPush { commands, shallow, unshallow, warnings, pack })
}

/// What came with a push.
#[derive(Default)]
struct Unpacked {
    pack: Pack,
    boundary: Boundary,
    warnings: FsckWarnings,
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
) -> Result<Unpacked, UnpackError> {
    if let Some(fault) = request.error {
        return Err(fault.into());
    }
    if !request.brings_a_pack() {
        return Ok(Unpacked::default());
    }
    if pack.length() > limits.request_bytes {
        return Err(UnpackError::TooLarge { limit: limits.request_bytes });
    }
    if request.capabilities.object_format() != "sha1" {
        return Err(UnpackError::ObjectFormat);
    }
    let ends = repository.shallow().await?;
    let shallow: HashSet<ObjectId> = request.shallow.iter().chain(&ends).copied().collect();
    let shallow = Arc::new(shallow);
    let resolved = match resolve_pack(repository, &pack, &shallow, limits).await {
        Err(UnpackError::ObjectTooLarge { size, limit, .. }) => {
            let (size, path) = find_larger(repository, &pack, &shallow, limits).await.unwrap_or((size, None));
            return Err(UnpackError::ObjectTooLarge { path, size, limit });
        }
        resolved => resolved?,
    };
    let known = known(repository, &resolved).await?;
    connectivity::check(resolved.links(), &known)?;
    let (resolved, boundary) = boundary(repository, &request.shallow, ends, resolved).await?;
    let resolved = check_special(repository, resolved).await?;
    let warnings = resolved.warnings();
    let pack = off_the_workers(move || resolved.settle(&known)).await?;
    Ok(Unpacked { pack, boundary, warnings })
}

/// Everything of a pack that can be known without asking what else the repository has.
async fn resolve_pack<R: Repository>(
    repository: &R,
    pack: &PackBytes,
    shallow: &Arc<HashSet<ObjectId>>,
    limits: &Limits,
) -> Result<Resolved, UnpackError> {
    // Inflating and hashing take their time; the async workers are for waiting.
    let (bounds, memory) = (limits.clone(), repository.memory());
    let (pack, ends) = (pack.clone(), Arc::clone(shallow));
    let mut scanned = off_the_workers(move || scan(pack, &ends, &bounds, &memory)).await?;
    let bases = read_bases(repository, &mut scanned, limits).await?;
    let (bounds, ends) = (limits.clone(), Arc::clone(shallow));
    off_the_workers(move || resolve(scanned, bases, &ends, &bounds)).await
}

/// Looks once more at a pack that is refused, for the object that is too large and its path: its trees tell that, and they are known
/// when everything is. `None`: that takes more than such a pack is worth.
async fn find_larger<R: Repository>(
    repository: &R,
    pack: &PackBytes,
    shallow: &Arc<HashSet<ObjectId>>,
    limits: &Limits,
) -> Option<(u64, Option<String>)> {
    let inflated_bytes = limits.inflated_bytes.saturating_mul(2);
    let wider = Limits { object_bytes: limits.inflated_bytes, inflated_bytes, ..limits.clone() };
    let resolved = resolve_pack(repository, pack, shallow, &wider).await.ok()?;
    let limit = limits.object_bytes;
    off_the_workers(move || Ok(unpack::find_larger(&resolved, limit))).await.ok()?
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
        known.extend(repository.object_info(some).await?.into_keys());
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
    /// Why it is refused, whatever follows. Then not all of it is kept.
    pub error: Option<RequestError>,
    shallow: Vec<ObjectId>,
}

/// What stands before a pack and is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More refs than one push may move.
    #[error("the push names {found} refs, more than {limit}")]
    TooManyCommands {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// More options than anybody needs.
    #[error("the push has {found} options, more than {OPTIONS_MAX}")]
    TooManyOptions {
        /// How many.
        found: usize,
    },
    /// The client's history ends at more commits than a push may bring.
    #[error("the clone is shallow at {found} commits, more than {limit}")]
    TooManyShallowCommits {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// All of it together.
    #[error("the names of its refs and its options take more than {limit} bytes together")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

impl RequestError {
    pub(crate) fn limit(self) -> Option<LimitKind> {
        match self {
            Self::TooManyCommands { .. } | Self::TooLong { .. } => Some(LimitKind::Commands),
            Self::TooManyShallowCommits { .. } => Some(LimitKind::Objects),
            Self::TooManyOptions { .. } => None,
        }
    }
}

impl Request {
    /// Whether a pack follows: where something is only deleted there is none.
    fn brings_a_pack(&self) -> bool {
        self.commands.iter().any(|command| command.new.is_some())
    }
}

/// Reads what comes before the pack; `None` for a probe, or where nothing is to be moved: the client wants an empty answer. What is
/// beyond a limit is read and not kept, so that the client can be told in its own way.
///
/// # Errors
/// The body is not a push, or ends early.
pub async fn read_request(
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<Option<Request>, ReceiveError> {
    let mut head = Head { left: limits.head_bytes, ..Head::default() };
    loop {
        match pkt_line::read(body).await? {
            Frame::Line(line) => head.take(pkt_line::text(&line))?,
            Frame::Flush => break,
            Frame::Delimiter | Frame::ResponseEnd => {
                return Err(ReceiveError::Protocol("unexpected mark".to_owned()));
            }
        }
    }
    // A shallow client whose refs are all up to date, or refused by itself, sends where its history ends all the same.
    if head.commands.is_empty() {
        return Ok(None);
    }
    while head.capabilities.push_options() {
        match pkt_line::read(body).await? {
            Frame::Line(line) => head.take_option(pkt_line::text(&line)),
            Frame::Flush => break,
            Frame::Delimiter | Frame::ResponseEnd => {
                return Err(ReceiveError::Protocol("unexpected mark".to_owned()));
            }
        }
    }
    Ok(Some(head.into_request(limits)))
}

/// What comes before the pack, so far.
#[derive(Default)]
struct Head {
    commands: Vec<Command>,
    shallow: Vec<ObjectId>,
    capabilities: Capabilities,
    options: Vec<String>,
    /// How many bytes more are kept.
    left: usize,
    /// How many there were, kept or not.
    counted: Counted,
}

#[derive(Default)]
struct Counted {
    commands: usize,
    shallow: usize,
    options: usize,
}

impl Head {
    /// Takes a line before the first mark.
    fn take(&mut self, line: &[u8]) -> Result<(), ReceiveError> {
        if let Some(id) = line.strip_prefix(b"shallow ") {
            let id =
                ObjectId::from_hex(id).map_err(|_| ReceiveError::Protocol("bad shallow line".to_owned()))?;
            self.counted.shallow += 1;
            if self.fits(line) {
                self.shallow.push(id);
            }
        } else if line.starts_with(b"push-cert") {
            return Err(ReceiveError::Protocol("signed pushes are not understood".to_owned()));
        } else {
            let mut parts = line.splitn(2, |byte| *byte == 0);
            let command = Command::parse(pkt_line::text(parts.next().unwrap_or_default()))?;
            if let Some(list) = parts.next().filter(|_| self.commands.is_empty()) {
                self.capabilities = Capabilities::parse(list);
            }
            self.counted.commands += 1;
            // Of the first the answer depends.
            if self.fits(line) || self.commands.is_empty() {
                self.commands.push(command);
            }
        }
        Ok(())
    }

    fn take_option(&mut self, line: &[u8]) {
        self.counted.options += 1;
        if self.counted.options <= OPTIONS_MAX && self.fits(line) {
            self.options.push(String::from_utf8_lossy(line).into_owned());
        }
    }

    fn fits(&mut self, line: &[u8]) -> bool {
        let left = self.left.checked_sub(line.len());
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn into_request(self, limits: &Limits) -> Request {
        let Self { commands, shallow, capabilities, options, left: _, counted } = self;
        let found = |found: usize, limit: usize| (found > limit).then_some(found);
        let too_many_commands = found(counted.commands, limits.commands)
            .map(|found| RequestError::TooManyCommands { found, limit: limits.commands });
        let too_many_options =
            found(counted.options, OPTIONS_MAX).map(|found| RequestError::TooManyOptions { found });
        let too_many_ends = found(counted.shallow, limits.objects)
            .map(|found| RequestError::TooManyShallowCommits { found, limit: limits.objects });
        let is_kept = (counted.commands, counted.options, counted.shallow)
            == (commands.len(), options.len(), shallow.len());
        let too_long = (!is_kept).then_some(RequestError::TooLong { limit: limits.head_bytes });
        let fault = too_many_commands.or(too_many_options).or(too_many_ends).or(too_long);
        Request { commands, capabilities, options, error: fault, shallow }
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
        let known = repository.object_info(some).await?;
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
) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
    let named = resolved.links().targets().chain(resolved.bases());
    let mut asked: Vec<ObjectId> = named.chain(resolved.ids()).collect();
    asked.sort_unstable();
    asked.dedup();
    let mut known = HashMap::new();
    for some in asked.chunks(ASKED_AT_ONCE) {
        known.extend(repository.object_info(some).await?);
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
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(UnpackError::Panicked))
}
