//! upload-pack, the server side of `git fetch` and `git clone`. Over HTTP it is stateless: every request repeats what was
//! negotiated so far ([`upload`]). Over a connection it negotiates in rounds ([`upload_over_connection`]).
//!
//! [`v2`] implements the commands of protocol v2, [`v0`] the exchange of protocols v0 and v1. Both use [`negotiation`] to
//! decide when to stop negotiating, [`walk`] to select the objects to send (over [`commits`] and [`tree_contents`], with
//! [`deepen`] for the shallow boundary), and [`pack_writer`] to send them. [`tree_reader`] and [`object_reader`] read many
//! objects at once, in [`storage_order`] if the repository supports it.

mod commits;
mod deepen;
#[cfg(test)]
mod delta_tests;
mod negotiation;
mod object_reader;
mod pack_writer;
mod storage_order;
#[cfg(test)]
mod tests;
mod tree_contents;
mod tree_reader;
mod v0;
mod v2;
mod walk;

use std::collections::HashSet;

use bytes::Bytes;
use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::advertise::{Protocol, peel, sorted_refs};
use crate::pkt_line::PacketError;
use crate::report::err_packet;
use crate::{CorruptObjectError, OutOfMemoryError, Repository, RepositoryError};

/// The most lines of a request, most of which are haves.
const LINES_MAX: usize = 200_000;

/// The memory of a request line until the response, besides its text: it is an object id that is looked up.
const LINE_BYTES: u64 = 256;

/// Why a fetch failed. The client was notified if possible.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The request violates the protocol, or wants an object that is not available.
    #[error("{0}")]
    Rejected(String),
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A stored object is corrupt.
    #[error(transparent)]
    Corrupt(#[from] CorruptObjectError),
    /// The client disconnected.
    #[error("client disconnected: {0}")]
    Client(#[from] std::io::Error),
}

impl From<OutOfMemoryError> for UploadError {
    fn from(error: OutOfMemoryError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<PacketError> for UploadError {
    fn from(error: PacketError) -> Self {
        Self::Rejected(error.to_string())
    }
}

/// Whether the client can send further requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RpcMode {
    /// Each request is independent (git's `stateless-rpc`).
    Stateless,
    /// The client continues on the same connection.
    Stateful,
}

/// Handles one HTTP request to upload-pack and streams the response to `output`.
///
/// # Errors
/// The request is rejected, which the client was notified of; or the repository cannot be read; or the client disconnected.
pub async fn upload<R: Repository>(
    repository: &R,
    protocol: Protocol,
    request: Bytes,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let mut input = request.as_ref();
    let served = match protocol {
        Protocol::V2 => match v2::serve(repository, &mut input, output).await {
            Ok(false) => Err(UploadError::Rejected("no command".to_owned())),
            served => served.map(|_| ()),
        },
        Protocol::V0 | Protocol::V1 => v0::serve(repository, &mut input, RpcMode::Stateless, output).await,
    };
    report_error(served, output).await
}

/// Serves upload-pack over a connection, after the ref advertisement ([`advertise_upload`](crate::advertise_upload)), until
/// it ends. In protocols v0 and v1 that is one pack, in protocol v2 any number of commands. The caller is responsible for
/// timeouts.
///
/// # Errors
/// A request is rejected, which the client was notified of; or the repository cannot be read; or the client disconnected.
pub async fn upload_over_connection<R: Repository>(
    repository: &R,
    protocol: Protocol,
    input: &mut (impl AsyncRead + Send + Unpin),
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let served = match protocol {
        Protocol::V2 => loop {
            match v2::serve(repository, input, output).await {
                Ok(true) => output.flush().await?,
                ended => break ended.map(|_| ()),
            }
        },
        Protocol::V0 | Protocol::V1 => v0::serve(repository, input, RpcMode::Stateful, output).await,
    };
    report_error(served, output).await
}

/// Sends the reason of a rejection to the client.
async fn report_error(
    served: Result<(), UploadError>,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    match &served {
        Err(UploadError::Rejected(why)) => output.write_all(&err_packet(why)).await?,
        Err(UploadError::Repository(RepositoryError::OutOfMemory(why))) => {
            output.write_all(&err_packet(&why.to_string())).await?;
        }
        _ => {}
    }
    output.flush().await?;
    served
}

/// The parameters of a fetch.
#[derive(Clone, Debug, Default, PartialEq)]
struct FetchRequest {
    wants: Vec<ObjectId>,
    /// Commits that client and repository have in common.
    common: Vec<ObjectId>,
    /// The client's shallow commits.
    client_shallow: Vec<ObjectId>,
    /// Limits of the history; `None` if the client does not deepen.
    depth: Option<deepen::Deepen>,
    /// Send annotated tags of the sent objects.
    include_tag: bool,
    format: pack_writer::Format,
}

impl FetchRequest {
    /// Whether this is a full clone: the client has nothing and limits nothing.
    fn everything(&self) -> bool {
        self.common.is_empty() && self.client_shallow.is_empty() && self.depth.is_none()
    }

    /// Parses an argument of both protocols; `false` for any other argument.
    fn take(&mut self, line: &str, haves: &mut Vec<ObjectId>) -> Result<bool, UploadError> {
        let (word, value) = line.split_once(' ').unwrap_or((line, ""));
        let id = || {
            ObjectId::from_hex(value.as_bytes())
                .map_err(|_| UploadError::Rejected(format!("bad line `{line}`")))
        };
        match word {
            "want" => self.wants.push(id()?),
            "have" => haves.push(id()?),
            "shallow" => self.client_shallow.push(id()?),
            "include-tag" => self.include_tag = true,
            _ => return deepen::Deepen::take(&mut self.depth, word, value),
        }
        Ok(true)
    }
}

/// Checks that the wants are advertised or reachable from refs: over HTTP, a ref can have moved since the advertisement.
/// Unreachable objects cannot be fetched.
async fn check_wants<R: Repository>(repository: &R, wants: &[ObjectId]) -> Result<(), UploadError> {
    let refs = sorted_refs(repository).await?;
    let peeled = peel(repository, &refs).await?;
    let named: HashSet<ObjectId> =
        refs.iter().map(|found| found.target).chain(peeled.into_values()).collect();
    let others: HashSet<ObjectId> = wants.iter().filter(|want| !named.contains(*want)).copied().collect();
    match walk::first_unreachable(repository, named, others).await? {
        Some(want) => Err(UploadError::Rejected(format!("upload-pack: not our ref {want}"))),
        None => Ok(()),
    }
}

/// Those of `haves` that the repository has, in the client's order.
async fn common<R: Repository>(repository: &R, haves: &[ObjectId]) -> Result<Vec<ObjectId>, UploadError> {
    let known = repository.object_info(haves).await?;
    Ok(haves.iter().filter(|id| known.contains_key(*id)).copied().collect())
}
