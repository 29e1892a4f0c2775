//! upload-pack: what `git fetch` and `git clone` ask. Over HTTP it is stateless, every request brings all that is known so
//! far ([`upload`]); over a connection of its own it goes on in rounds ([`upload_over_connection`]).
//!
//! [`v2`] answers the commands of protocol 2 and [`v0`] the one exchange of the original. Both ask [`ready`] whether the client
//! has told enough, and end in [`walk`], which finds what to send, over [`commits`] and [`files`], with [`depth`], which says
//! where a shallow history ends, and [`pack`], which sends it. [`trees`] and [`unread`] read many objects in the order in
//! which they are stored, where the repository has one.

mod commits;
#[cfg(test)]
mod deltas;
mod depth;
mod files;
mod in_order;
mod pack;
mod ready;
#[cfg(test)]
mod tests;
mod trees;
mod unread;
mod v0;
mod v2;
mod walk;

use std::collections::HashSet;

use bytes::Bytes;
use gix_hash::ObjectId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::advertise::{Protocol, peel, sorted_refs};
use crate::pkt_line::FrameError;
use crate::report::error_line;
use crate::{CorruptObjectError, OutOfMemoryError, Repository, RepositoryError};

/// The most lines of a request, whatever they say: most are haves.
const LINES_MAX: usize = 200_000;

/// What a line of a request takes from when it is read until it is answered, apart from its own bytes: it is an object that is looked up.
const LINE_BYTES: u64 = 256;

/// Why a fetch failed. The client was told where it could be.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The request is not git's protocol, or asks for what is not given.
    #[error("{0}")]
    Refused(String),
    /// The repository cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A stored object is damaged.
    #[error(transparent)]
    Corrupt(#[from] CorruptObjectError),
    /// The client went away.
    #[error("the client went away: {0}")]
    Client(#[from] std::io::Error),
}

impl From<OutOfMemoryError> for UploadError {
    fn from(error: OutOfMemoryError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<FrameError> for UploadError {
    fn from(error: FrameError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// How often a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounds {
    /// Once: a request stands alone.
    One,
    /// Until it has what it wants.
    Many,
}

/// Answers one request to upload-pack over HTTP, writing to `output` as it goes.
///
/// # Errors
/// The request is refused, which the client was told; or the repository failed; or the client went away.
pub async fn upload<R: Repository>(
    repository: &R,
    protocol: Protocol,
    request: Bytes,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let mut input = request.as_ref();
    let answered = match protocol {
        Protocol::V2 => match v2::answer(repository, &mut input, output).await {
            Ok(false) => Err(UploadError::Refused("no command".to_owned())),
            answered => answered.map(|_| ()),
        },
        Protocol::V0 | Protocol::V1 => v0::answer(repository, &mut input, Rounds::One, output).await,
    };
    tell(answered, output).await
}

/// Serves upload-pack over a connection, from behind the list of refs
/// ([`advertise_upload`](crate::advertise_upload)) to its end. In the original protocol that is one pack, in protocol 2 as
/// many commands as the client likes. How long a silent client is waited for is the caller's to say.
///
/// # Errors
/// A request is refused, which the client was told; or the repository failed; or the client went away.
pub async fn upload_over_connection<R: Repository>(
    repository: &R,
    protocol: Protocol,
    input: &mut (impl AsyncRead + Send + Unpin),
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    let answered = match protocol {
        Protocol::V2 => loop {
            match v2::answer(repository, input, output).await {
                Ok(true) => output.flush().await?,
                ended => break ended.map(|_| ()),
            }
        },
        Protocol::V0 | Protocol::V1 => v0::answer(repository, input, Rounds::Many, output).await,
    };
    tell(answered, output).await
}

/// Tells the client why it is refused.
async fn tell(
    answered: Result<(), UploadError>,
    output: &mut (impl AsyncWrite + Send + Unpin),
) -> Result<(), UploadError> {
    match &answered {
        Err(UploadError::Refused(why)) => output.write_all(&error_line(why)).await?,
        Err(UploadError::Repository(RepositoryError::OutOfMemory(why))) => {
            output.write_all(&error_line(&why.to_string())).await?;
        }
        _ => {}
    }
    output.flush().await?;
    answered
}

/// How a pack is to be made.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wishes {
    wants: Vec<ObjectId>,
    /// What the client has of this repository.
    common: Vec<ObjectId>,
    /// The commits whose parents the client does not have.
    client_shallow: Vec<ObjectId>,
    /// How far back the history goes; `None`: as far as it does at the client.
    depth: Option<depth::Depth>,
    /// Tags of what is sent are to be sent too.
    include_tag: bool,
    format: pack::Format,
}

impl Wishes {
    /// Whether the client has nothing, and wants all that the wants lead to: a clone.
    fn everything(&self) -> bool {
        self.common.is_empty() && self.client_shallow.is_empty() && self.depth.is_none()
    }

    /// Takes an argument that both protocols have; `false` where it is none.
    fn take(&mut self, line: &str, haves: &mut Vec<ObjectId>) -> Result<bool, UploadError> {
        let (word, value) = line.split_once(' ').unwrap_or((line, ""));
        let id = || {
            ObjectId::from_hex(value.as_bytes())
                .map_err(|_| UploadError::Refused(format!("bad line `{line}`")))
        };
        match word {
            "want" => self.wants.push(id()?),
            "have" => haves.push(id()?),
            "shallow" => self.client_shallow.push(id()?),
            "include-tag" => self.include_tag = true,
            _ => return depth::Depth::take(&mut self.depth, word, value),
        }
        Ok(true)
    }
}

/// Holds the wants to be refs of the repository, or commits behind them: over HTTP a ref may have moved since it was listed.
/// What no ref leads to is nobody's to fetch.
async fn check_wants<R: Repository>(repository: &R, wants: &[ObjectId]) -> Result<(), UploadError> {
    let refs = sorted_refs(repository).await?;
    let peeled = peel(repository, &refs).await?;
    let named: HashSet<ObjectId> =
        refs.iter().map(|found| found.target).chain(peeled.into_values()).collect();
    let others: HashSet<ObjectId> = wants.iter().filter(|want| !named.contains(*want)).copied().collect();
    match walk::out_of_reach(repository, named, others).await? {
        Some(want) => Err(UploadError::Refused(format!("upload-pack: not our ref {want}"))),
        None => Ok(()),
    }
}

/// Those of the client's commits that the repository has, in the client's order.
async fn common<R: Repository>(repository: &R, haves: &[ObjectId]) -> Result<Vec<ObjectId>, UploadError> {
    let known = repository.object_info(haves).await?;
    Ok(haves.iter().filter(|id| known.contains_key(*id)).copied().collect())
}
