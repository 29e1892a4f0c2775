//! The journey of a push, from a request body to a [`Push`] (gitprotocol-pack, "Reference Update Request"), in two steps:
//! [`read_request`] learns what the client wants, after which it can be told that work goes on, and [`unpack`] does the work.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::capability::Capabilities;
use crate::command::{Command, NotACommand, judge};
use crate::pack_end::PackReader;
use crate::pkt_line::{self, Frame, FrameError};
use crate::unpack::{UnpackError, read as read_entries, resolve};
use crate::{Kind, Limits, Object, Repository, RepositoryError, connectivity};

/// The most options of one push, and the longest of them.
const OPTIONS_MAX: usize = 64;

/// What a request to receive-pack turned out to be.
#[derive(Clone, Debug)]
pub enum Received {
    /// A client that sends much asks first whether it may; it wants an empty answer.
    Probe,
    /// A push.
    Push(Push),
}

/// A push that was received and checked, and has changed nothing.
#[derive(Clone, Debug)]
pub struct Push {
    /// The refs to be moved, those that git's rules forbid marked as such.
    pub commands: Vec<Command>,
    /// What the client can and wants.
    pub capabilities: Capabilities,
    /// What the user said with `git push --push-option`.
    pub options: Vec<String>,
    /// Commits of the pack whose parents the client does not have.
    pub shallow: Vec<ObjectId>,
    /// The objects of the pack, well-formed, and with everything they name in the pack or in the repository; or why
    /// there are none.
    pub pack: Result<Vec<Object>, UnpackError>,
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
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
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
/// The body is not a push, ends early, or the repository cannot be read. A pack that is refused is no error: the client
/// is told in the answer, which it reads only when its whole request was read.
pub async fn receive<R: Repository>(
    repository: &R,
    body: impl AsyncRead + Send + Unpin,
    limits: &Limits,
) -> Result<Received, ReceiveError> {
    let mut body = body;
    match read_request(&mut body, limits).await? {
        Some(request) => unpack(repository, request, &mut body, limits).await.map(Received::Push),
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
    let mut pack = PackReader::new(input, limits.inflated_bytes);
    unpack(repository, request, &mut pack, limits).await.map(Received::Push)
}

/// Reads, checks and connects the pack that follows `request` in `body`. Nothing is changed.
///
/// # Errors
/// The body ends early, or the repository cannot be read. A pack that is refused is no error.
pub async fn unpack<R: Repository>(
    repository: &R,
    request: Request,
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<Push, ReceiveError> {
    let Request { mut commands, capabilities, options, shallow } = request;
    let pack = if commands.iter().all(|command| command.new.is_none()) {
        Ok(Vec::new())
    } else {
        let known_shallow = [shallow.as_slice(), &repository.shallow().await?].concat();
        let unpacked = match read_pack(body, limits).await? {
            Ok(bytes) => unpack_and_connect(repository, bytes, known_shallow, limits).await?,
            Err(error) => Err(error),
        };
        if capabilities.object_format() == "sha1" { unpacked } else { Err(UnpackError::ObjectFormat) }
    };
    let objects = pack.as_deref().unwrap_or_default();
    let mut kinds: HashMap<_, _> = objects.iter().map(|object| (object.id, object.kind)).collect();
    let elsewhere: Vec<ObjectId> =
        commands.iter().filter_map(|command| command.new).filter(|id| !kinds.contains_key(id)).collect();
    kinds.extend(repository.kinds(&elsewhere).await?);
    judge(&mut commands, &kinds, &repository.refs().await?);
    // A line that names no commit of the pack says nothing; kept, it would stop git where it reads the list.
    let commits: HashSet<ObjectId> =
        objects.iter().filter(|object| object.kind == Kind::Commit).map(|object| object.id).collect();
    let shallow = shallow.into_iter().filter(|id| commits.contains(id)).collect();
    Ok(Push { commands, capabilities, options, shallow, pack })
}

/// What a client wants, from before its pack.
#[derive(Clone, Debug)]
pub struct Request {
    /// The refs to be moved, not yet judged.
    pub commands: Vec<Command>,
    /// What the client can and wants.
    pub capabilities: Capabilities,
    options: Vec<String>,
    shallow: Vec<ObjectId>,
}

/// Reads what comes before the pack; `None` for a probe, which wants an empty answer.
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
    if commands.is_empty() {
        return if shallow.is_empty() {
            Ok(None)
        } else {
            Err(ReceiveError::Protocol("no command".to_owned()))
        };
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

/// Reads the rest of the body. What is too large is read all the same, up to twice the limit, and thrown away.
async fn read_pack(
    body: &mut (impl AsyncRead + Send + Unpin),
    limits: &Limits,
) -> Result<Result<Bytes, UnpackError>, ReceiveError> {
    let mut pack = Vec::new();
    let limit = limits.request_bytes;
    body.take(limit + 1).read_to_end(&mut pack).await.map_err(ReceiveError::Cut)?;
    if pack.len() as u64 <= limit {
        return Ok(Ok(pack.into()));
    }
    drop(pack);
    tokio::io::copy(&mut body.take(limit), &mut tokio::io::sink()).await.map_err(ReceiveError::Cut)?;
    Ok(Err(UnpackError::TooLarge { limit }))
}

async fn unpack_and_connect<R: Repository>(
    repository: &R,
    pack: Bytes,
    shallow: Vec<ObjectId>,
    limits: &Limits,
) -> Result<Result<Vec<Object>, UnpackError>, ReceiveError> {
    // Inflating and hashing take their time; the async workers are for waiting.
    let bounds = limits.clone();
    let read = off_the_workers(move || read_entries(&pack, &bounds)).await;
    let entries = match read {
        Ok(entries) => entries,
        Err(error) => return Ok(Err(error)),
    };
    let bases = repository.objects(&entries.foreign_bases()).await?;
    let bounds = limits.clone();
    let unpacked = match off_the_workers(move || resolve(entries, &bases, &shallow, &bounds)).await {
        Ok(unpacked) => unpacked,
        Err(error) => return Ok(Err(error)),
    };
    let outside = repository.kinds(&unpacked.links.targets()).await?;
    Ok(connectivity::check(&unpacked.links, &outside).map(|()| unpacked.objects).map_err(UnpackError::from))
}

async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnpackError> + Send + 'static,
) -> Result<T, UnpackError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(UnpackError::Died))
}
