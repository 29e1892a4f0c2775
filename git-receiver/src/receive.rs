//! Receives a push, from a request body to a [`Push`] (gitprotocol-pack, "Reference Update Request"), in two steps:
//! [`read_request`] reads the commands, after which the caller can send progress, and [`unpack()`] unpacks and checks the
//! pack.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gix_hash::ObjectId;
use tokio::io::AsyncRead;

use crate::capability::Capabilities;
use crate::command::{CheckedCommand, Command, ParseCommandError, check_commands};
use crate::fsck::{self, BlobToFsck, FsckError};
use crate::pack::{Pack, PackBytes};
use crate::pack_end::PackReader;
use crate::pkt_line::{self, Packet, PacketError};
use crate::unpack::{self, Bases, FsckWarnings, Resolved, Scanned, UnpackError, resolve, scan};
use crate::{Kind, LimitKind, Limits, ObjectInfo, Repository, RepositoryError, connectivity, content, parse};

/// The most push options of one push.
const OPTIONS_MAX: usize = 64;

/// How many delta bases of a thin pack are read at once.
const BASE_BATCH: usize = 64;

/// How many stored blobs are read at once for fsck.
const FSCK_BLOB_BATCH: usize = 8;

/// How many objects are looked up at once.
const LOOKUP_BATCH: usize = 10_000;

/// A request to receive-pack.
#[derive(Debug)]
pub enum Received {
    /// A request without commands, which expects an empty response: curl-based clients probe for authentication before a
    /// large push, and shallow clients send their shallow lines even if no ref changes.
    Probe,
    /// A push.
    Push(Box<Push>),
}

/// A received push. Nothing is stored yet.
#[derive(Debug)]
pub struct Push {
    /// The commands and options.
    pub request: Request,
    /// The unpacked objects, or why unpacking failed.
    pub unpacked: Result<UnpackedPush, UnpackError>,
}

/// A push with unpacked and checked objects and checked commands. Nothing is stored yet.
#[derive(Debug)]
pub struct UnpackedPush {
    /// The ref updates, in the client's order.
    pub commands: Vec<CheckedCommand>,
    /// New shallow commits: neither the pack nor the repository has all their parents.
    pub shallow: Vec<ObjectId>,
    /// Shallow commits of the repository whose parents are all present with this push.
    pub unshallow: Vec<ObjectId>,
    /// fsck warnings about the objects of the pack.
    pub warnings: FsckWarnings,
    /// The objects of the pack that the repository does not have.
    pub pack: Pack,
}

/// A request that is too malformed for a report to the client.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The request violates the protocol.
    #[error("not a push: {0}")]
    Protocol(String),
    /// The body ended early or could not be read.
    #[error("cannot read the push: {0}")]
    Io(std::io::Error),
}

impl From<PacketError> for ReceiveError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Io(error) => Self::Io(error),
            error => Self::Protocol(error.to_string()),
        }
    }
}

impl From<ParseCommandError> for ReceiveError {
    fn from(error: ParseCommandError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Receives a push. `body` is the request after HTTP content decoding. Nothing is stored.
///
/// # Errors
/// The body is not a push, or it ends early. An unpack error is part of the [`Push`] instead, because the client reads it
/// from the report, after its whole request was read.
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

/// Like [`receive`], over a connection that the client can keep open: reading stops at the end of the pack.
/// [`Received::Probe`] means that the client has nothing to push.
///
/// # Errors
/// Those of [`receive`].
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

/// Spools the pack after `request`, if there is one.
async fn spool(
    request: &Request,
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<PackBytes, ReceiveError> {
    if !request.has_pack() {
        return Ok(PackBytes::default());
    }
    PackBytes::spool(body, limits.request_bytes).await.map_err(ReceiveError::Io)
}

/// Unpacks and checks the `pack` of `request`, and checks its commands. Nothing is stored.
///
/// # Errors
/// The pack is rejected, or the repository cannot be read.
pub async fn unpack<R: Repository>(
    repository: &R,
    request: &Request,
    pack: PackBytes,
    limits: &Limits,
) -> Result<UnpackedPush, UnpackError> {
    let Unpacked { pack, shallow_changes, warnings } = unpack_pack(repository, request, pack, limits).await?;
    let ShallowUpdate { shallow, unshallow } = shallow_changes;
    let new = || request.commands.iter().filter_map(|command| command.new);
    let mut kinds: HashMap<ObjectId, Kind> = new().filter_map(|id| Some((id, pack.kind(&id)?))).collect();
    let outside: Vec<ObjectId> = new().filter(|id| !kinds.contains_key(id)).collect();
    kinds.extend(repository.object_info(&outside).await?.into_iter().map(|(id, known)| (id, known.kind)));
    let commands = check_commands(request.commands.clone(), &kinds, &repository.refs().await?);
    Ok(UnpackedPush { commands, shallow, unshallow, warnings, pack })
}

/// The unpacked part of a push.
#[derive(Default)]
struct Unpacked {
    pack: Pack,
    shallow_changes: ShallowUpdate,
    warnings: FsckWarnings,
}

/// Changes of the repository's shallow shallow_changes.
#[derive(Default)]
struct ShallowUpdate {
    shallow: Vec<ObjectId>,
    unshallow: Vec<ObjectId>,
}

/// Unpacks the pack, runs fsck and the connectivity check, and selects the objects to store.
async fn unpack_pack<R: Repository>(
    repository: &R,
    request: &Request,
    pack: PackBytes,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    if let Some(error) = request.error {
        return Err(error.into());
    }
    if !request.has_pack() {
        return Ok(Unpacked::default());
    }
    if pack.length() > limits.request_bytes {
        return Err(UnpackError::TooLarge { limit: limits.request_bytes });
    }
    if request.capabilities.object_format() != "sha1" {
        return Err(UnpackError::ObjectFormat);
    }
    let repository_shallow = repository.shallow().await?;
    let shallow: HashSet<ObjectId> = request.shallow.iter().chain(&repository_shallow).copied().collect();
    let shallow = Arc::new(shallow);
    let resolved = match resolve_pack(repository, &pack, &shallow, limits).await {
        Err(UnpackError::ObjectTooLarge { size, limit, .. }) => {
            let (size, path) =
                find_oversized(repository, &pack, &shallow, limits).await.unwrap_or((size, None));
            return Err(UnpackError::ObjectTooLarge { path, size, limit });
        }
        resolved => resolved?,
    };
    let known = look_up(repository, &resolved).await?;
    connectivity::check(resolved.refs(), &known)?;
    let (resolved, shallow_changes) =
        shallow_update(repository, &request.shallow, repository_shallow, resolved).await?;
    let resolved = fsck_blobs(repository, resolved).await?;
    let warnings = resolved.warnings();
    let pack = run_blocking(move || resolved.select_for_storage(&known)).await?;
    Ok(Unpacked { pack, shallow_changes, warnings })
}

/// Unpacks the pack as far as that is possible without looking up its objects in the repository.
async fn resolve_pack<R: Repository>(
    repository: &R,
    pack: &PackBytes,
    shallow: &Arc<HashSet<ObjectId>>,
    limits: &Limits,
) -> Result<Resolved, UnpackError> {
    // Inflating and hashing block a thread for long.
    let (bounds, memory) = (limits.clone(), repository.memory());
    let (pack, shallow_commits) = (pack.clone(), Arc::clone(shallow));
    let mut scanned = run_blocking(move || scan(pack, &shallow_commits, &bounds, &memory)).await?;
    let bases = read_bases(repository, &mut scanned, limits).await?;
    let (bounds, shallow_commits) = (limits.clone(), Arc::clone(shallow));
    run_blocking(move || resolve(scanned, bases, &shallow_commits, &bounds)).await
}

/// Unpacks a rejected pack again with higher limits, to report size and path of the oversized object: the path follows from
/// the trees, which are known only after unpacking. `None` if the pack exceeds the higher limits too.
async fn find_oversized<R: Repository>(
    repository: &R,
    pack: &PackBytes,
    shallow: &Arc<HashSet<ObjectId>>,
    limits: &Limits,
) -> Option<(u64, Option<String>)> {
    let inflated_bytes = limits.inflated_bytes.saturating_mul(2);
    let raised = Limits { object_bytes: limits.inflated_bytes, inflated_bytes, ..limits.clone() };
    let resolved = resolve_pack(repository, pack, shallow, &raised).await.ok()?;
    let limit = limits.object_bytes;
    run_blocking(move || Ok(unpack::find_oversized(&resolved, limit))).await.ok()?
}

/// Computes the changes of the shallow boundary: a shallow commit of the client in the pack, or one of the repository's
/// (`repository_shallow`), stays shallow as long as a parent is missing. A shallow client can push on top of a complete
/// history, and a later push can add the parents.
async fn shallow_update<R: Repository>(
    repository: &R,
    shallow: &[ObjectId],
    repository_shallow: Vec<ObjectId>,
    resolved: Resolved,
) -> Result<(Resolved, ShallowUpdate), UnpackError> {
    if !resolved.has_commits() || shallow.is_empty() && repository_shallow.is_empty() {
        return Ok((resolved, ShallowUpdate::default()));
    }
    let mut parents: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    content::for_each(repository, &repository_shallow, |id, _, content| {
        parents.insert(id, parse::commit(id, content)?.parents);
        Ok::<_, UnpackError>(())
    })
    .await?;
    // Shallow lines for commits outside the pack are ignored; git would fail on them in its `shallow` file.
    let shallow = resolved.commits_among(shallow);
    let (resolved, mut parents) = run_blocking(move || {
        resolved.each_content(&shallow, |id, content| {
            parents.insert(id, parse::commit(id, content)?.parents);
            Ok(())
        })?;
        Ok((resolved, parents))
    })
    .await?;
    let outside: Vec<ObjectId> =
        parents.values().flatten().filter(|id| !resolved.refs().contains(id)).copied().collect();
    let mut known = HashSet::new();
    for some in outside.chunks(LOOKUP_BATCH) {
        known.extend(repository.object_info(some).await?.into_keys());
    }
    let is_there = |id: &ObjectId| known.contains(id) || resolved.refs().contains(id);
    let repository_shallow: HashSet<ObjectId> = repository_shallow.into_iter().collect();
    parents.retain(|id, parents| repository_shallow.contains(id) == parents.iter().all(is_there));
    let (unshallow, shallow) = parents.into_keys().partition(|id| repository_shallow.contains(id));
    Ok((resolved, ShallowUpdate { shallow, unshallow }))
}

/// Everything that a client sends before the pack.
#[derive(Clone, Debug)]
pub struct Request {
    /// The ref updates.
    pub commands: Vec<Command>,
    /// The client's capabilities.
    pub capabilities: Capabilities,
    /// The push options (`git push --push-option`).
    pub options: Vec<String>,
    /// Why the push is rejected, whatever its pack contains. Then not all lines are kept.
    pub error: Option<RequestError>,
    shallow: Vec<ObjectId>,
}

/// A limit exceeded by the lines before the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Too many commands.
    #[error("the push names {found} refs, more than {limit}")]
    TooManyCommands {
        /// The number of commands.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many push options.
    #[error("the push has {found} options, more than {OPTIONS_MAX}")]
    TooManyOptions {
        /// The number of options.
        found: usize,
    },
    /// Too many shallow lines.
    #[error("the clone is shallow at {found} commits, more than {limit}")]
    TooManyShallowCommits {
        /// The number of shallow commits.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// All lines together are too long.
    #[error("the commands and push options take more than {limit} bytes")]
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
    /// Whether a pack follows: a push that only deletes refs has none.
    fn has_pack(&self) -> bool {
        self.commands.iter().any(|command| command.new.is_some())
    }
}

/// Reads everything before the pack; `None` for a request without commands, which expects an empty response. Lines beyond a
/// limit are read and dropped, so that the client gets a report.
///
/// # Errors
/// The body is not a push, or it ends early.
pub async fn read_request(
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<Option<Request>, ReceiveError> {
    let mut head = RequestHead { left: limits.head_bytes, ..RequestHead::default() };
    loop {
        match pkt_line::read(body).await? {
            Packet::Data(line) => head.take_line(pkt_line::text(&line))?,
            Packet::Flush => break,
            Packet::Delim | Packet::ResponseEnd => {
                return Err(ReceiveError::Protocol("unexpected special packet".to_owned()));
            }
        }
    }
    // A shallow client sends its shallow lines even if all refs are up to date or rejected locally.
    if head.commands.is_empty() {
        return Ok(None);
    }
    while head.capabilities.push_options() {
        match pkt_line::read(body).await? {
            Packet::Data(line) => head.take_option(pkt_line::text(&line)),
            Packet::Flush => break,
            Packet::Delim | Packet::ResponseEnd => {
                return Err(ReceiveError::Protocol("unexpected special packet".to_owned()));
            }
        }
    }
    Ok(Some(head.into_request(limits)))
}

/// The lines before the pack read so far.
#[derive(Default)]
struct RequestHead {
    commands: Vec<Command>,
    shallow: Vec<ObjectId>,
    capabilities: Capabilities,
    options: Vec<String>,
    /// How many more bytes are kept.
    left: usize,
    /// The number of lines, kept or dropped.
    counts: LineCounts,
}

#[derive(Default)]
struct LineCounts {
    commands: usize,
    shallow: usize,
    options: usize,
}

impl RequestHead {
    /// Adds a line of the first section.
    fn take_line(&mut self, line: &[u8]) -> Result<(), ReceiveError> {
        if let Some(id) = line.strip_prefix(b"shallow ") {
            let id =
                ObjectId::from_hex(id).map_err(|_| ReceiveError::Protocol("bad shallow line".to_owned()))?;
            self.counts.shallow += 1;
            if self.fits(line) {
                self.shallow.push(id);
            }
        } else if line.starts_with(b"push-cert") {
            return Err(ReceiveError::Protocol("signed pushes are not supported".to_owned()));
        } else {
            let mut parts = line.splitn(2, |byte| *byte == 0);
            let command = Command::parse(pkt_line::text(parts.next().unwrap_or_default()))?;
            if let Some(list) = parts.next().filter(|_| self.commands.is_empty()) {
                self.capabilities = Capabilities::parse(list);
            }
            self.counts.commands += 1;
            // The first command is always kept: its capabilities decide the form of the response.
            if self.fits(line) || self.commands.is_empty() {
                self.commands.push(command);
            }
        }
        Ok(())
    }

    fn take_option(&mut self, line: &[u8]) {
        self.counts.options += 1;
        if self.counts.options <= OPTIONS_MAX && self.fits(line) {
            self.options.push(String::from_utf8_lossy(line).into_owned());
        }
    }

    fn fits(&mut self, line: &[u8]) -> bool {
        let left = self.left.checked_sub(line.len());
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn into_request(self, limits: &Limits) -> Request {
        let Self { commands, shallow, capabilities, options, left: _, counts } = self;
        let found = |found: usize, limit: usize| (found > limit).then_some(found);
        let too_many_commands = found(counts.commands, limits.commands)
            .map(|found| RequestError::TooManyCommands { found, limit: limits.commands });
        let too_many_options =
            found(counts.options, OPTIONS_MAX).map(|found| RequestError::TooManyOptions { found });
        let too_many_shallow = found(counts.shallow, limits.objects)
            .map(|found| RequestError::TooManyShallowCommits { found, limit: limits.objects });
        let is_complete = (counts.commands, counts.options, counts.shallow)
            == (commands.len(), options.len(), shallow.len());
        let too_long = (!is_complete).then_some(RequestError::TooLong { limit: limits.head_bytes });
        let error = too_many_commands.or(too_many_options).or(too_many_shallow).or(too_long);
        Request { commands, capabilities, options, error, shallow }
    }
}

/// Reads the delta bases of a thin pack from the repository. They count as inflated bytes, because a small pack can refer to
/// many large bases.
async fn read_bases<R: Repository>(
    repository: &R,
    scanned: &mut Scanned,
    limits: &Limits,
) -> Result<Bases, UnpackError> {
    let mut bases = Bases::new();
    let mut inflated = scanned.inflated(limits);
    for some in scanned.external_bases().chunks(BASE_BATCH) {
        // Unreachable objects that gc is about to delete can still be read, but `object_info` leaves them out.
        let known = repository.object_info(some).await?;
        let some: Vec<ObjectId> = some.iter().copied().filter(|id| known.contains_key(id)).collect();
        let some = some.as_slice();
        let stored = repository.objects_and_bases(some).await?;
        content::reconstruct(&stored, &repository.memory(), |object, content| {
            if some.contains(&object.id) {
                inflated.add(content.len() as u64)?;
                scanned.reserve(content.len() as u64)?;
                bases.insert(object.id, (object.kind, content.to_vec()));
            }
            Ok::<_, UnpackError>(())
        })?;
    }
    Ok(bases)
}

/// Looks up the objects of the pack, their references and their delta bases in the repository.
async fn look_up<R: Repository>(
    repository: &R,
    resolved: &Resolved,
) -> Result<HashMap<ObjectId, ObjectInfo>, RepositoryError> {
    let references = resolved.refs().external_targets().chain(resolved.bases());
    let mut ids: Vec<ObjectId> = references.chain(resolved.ids()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut known = HashMap::new();
    for some in ids.chunks(LOOKUP_BATCH) {
        known.extend(repository.object_info(some).await?);
    }
    Ok(known)
}

/// Runs fsck on `.gitmodules` and `.gitattributes` blobs that the pack's trees refer to, both in the pack and in the
/// repository.
async fn fsck_blobs<R: Repository>(repository: &R, resolved: Resolved) -> Result<Resolved, UnpackError> {
    let mut blobs: HashMap<ObjectId, Vec<BlobToFsck>> = HashMap::new();
    for (id, kind) in resolved.refs().blobs_to_fsck() {
        blobs.entry(id).or_default().push(kind);
    }
    if blobs.is_empty() {
        return Ok(resolved);
    }
    let ids: Vec<ObjectId> = blobs.keys().copied().collect();
    let check = move |id: ObjectId, content: &[u8]| {
        let checked = blobs[&id].iter().try_for_each(|blob| fsck::fsck_blob(*blob, content));
        checked.map_err(|FsckError(message)| UnpackError::Fsck { id, message })
    };
    for some in ids.chunks(FSCK_BLOB_BATCH) {
        content::for_each(repository, some, |id, _, content| check(id, content)).await?;
    }
    run_blocking(move || resolved.each_content(&ids, check).map(|()| resolved)).await
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnpackError> + Send + 'static,
) -> Result<T, UnpackError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(UnpackError::Panicked))
}
