//! Takes in a request until it is whole, so that a slow client holds neither memory nor a place among those who work: a
//! small one in memory, a larger one in a file without a name, which is gone with the process.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use git_receiver::PackBytes;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, ReadBuf};

/// How long a client may send nothing of a request that it has begun.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How much of a request is kept in memory.
const IN_MEMORY_MAX: usize = 64 * 1024;

/// How much is read from the connection at a time.
const PIECE: usize = 32 * 1024;

/// Why a request was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The client sent nothing for too long, or took too long in all.
    #[error("the push took too long to arrive")]
    Slow,
    /// The connection broke, or what it brought cannot be decompressed.
    #[error("the push was cut off: {0}")]
    Cut(#[source] io::Error),
    /// The server cannot keep it.
    #[error("the server cannot keep the push: {source}")]
    Keep {
        source: io::Error,
        /// How it begins: what the client asks for, so that it can be told in git's way.
        head: Vec<u8>,
    },
}

/// A whole request, to be read from its beginning.
pub(super) enum Spooled {
    Memory(io::Cursor<Vec<u8>>),
    File(File),
}

/// Takes in `body`, in `time` at most. What is beyond `bytes_max` is read, up to as much again, and thrown away: a client
/// reads its answer only when it has sent everything.
pub(super) async fn spool(
    body: &mut (impl AsyncRead + Unpin),
    bytes_max: u64,
    time: Duration,
    folder: &Path,
) -> Result<Spooled, SpoolError> {
    let taking = take(body, bytes_max, folder);
    tokio::time::timeout(time, taking).await.unwrap_or(Err(SpoolError::Slow))
}

async fn take(
    body: &mut (impl AsyncRead + Unpin),
    bytes_max: u64,
    folder: &Path,
) -> Result<Spooled, SpoolError> {
    let mut memory = Vec::new();
    let mut file: Option<File> = None;
    let mut failed: Option<io::Error> = None;
    let mut taken = 0u64;
    let mut piece = vec![0; PIECE];
    while taken < bytes_max.saturating_mul(2) {
        let reading = tokio::time::timeout(SILENCE_MAX, body.read(&mut piece));
        let read = match reading.await.map_err(|_| SpoolError::Slow)?.map_err(SpoolError::Cut)? {
            0 => break,
            read => &piece[..read],
        };
        taken += read.len() as u64;
        if taken > bytes_max.saturating_add(PIECE as u64) || failed.is_some() {
            continue;
        }
        if file.is_none() && memory.len() + read.len() <= IN_MEMORY_MAX {
            memory.extend_from_slice(read);
        } else if let Err(error) = keep(&mut file, folder, &memory, read).await {
            failed = Some(error);
        }
    }
    match (failed, file) {
        (Some(source), _) => Err(SpoolError::Keep { source, head: memory }),
        (None, None) => Ok(Spooled::Memory(io::Cursor::new(memory))),
        (None, Some(mut file)) => match rewound(&mut file).await {
            Ok(()) => Ok(Spooled::File(file)),
            Err(source) => Err(SpoolError::Keep { source, head: memory }),
        },
    }
}

/// Writes what was read behind what the file holds; a new file begins with what was kept in memory until now.
async fn keep(file: &mut Option<File>, folder: &Path, memory: &[u8], read: &[u8]) -> io::Result<()> {
    if file.is_none() {
        file.insert(File::from_std(tempfile::tempfile_in(folder)?)).write_all(memory).await?;
    }
    match file {
        Some(file) => file.write_all(read).await,
        None => Ok(()),
    }
}

async fn rewound(file: &mut File) -> io::Result<()> {
    file.flush().await?;
    file.rewind().await.map(drop)
}

impl Spooled {
    /// What was not read yet: the pack, once everything before it was.
    pub(super) async fn into_pack(self) -> io::Result<PackBytes> {
        match self {
            Self::Memory(bytes) => {
                let read = usize::try_from(bytes.position()).unwrap_or(usize::MAX);
                let bytes = Bytes::from(bytes.into_inner());
                Ok(bytes.slice(read.min(bytes.len())..).into())
            }
            Self::File(mut file) => {
                let read = file.stream_position().await?;
                PackBytes::in_file(file.into_std().await, read)
            }
        }
    }
}

impl AsyncRead for Spooled {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Memory(bytes) => Pin::new(bytes).poll_read(context, into),
            Self::File(file) => Pin::new(file).poll_read(context, into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn taken(body: &[u8], bytes_max: u64) -> (Vec<u8>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let mut spooled = spool(&mut &*body, bytes_max, LONG, folder.path()).await.unwrap();
        let in_file = matches!(spooled, Spooled::File(_));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        let mut read = Vec::new();
        spooled.read_to_end(&mut read).await.unwrap();
        (read, in_file)
    }

    #[tokio::test]
    async fn a_request_is_read_back_as_it_came() {
        for (length, in_file) in
            [(0, false), (10, false), (IN_MEMORY_MAX, false), (IN_MEMORY_MAX * 5 + 7, true)]
        {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(taken(&body, u64::MAX).await, (body, in_file), "{length}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_read_and_not_kept() {
        let (kept, _) = taken(&vec![7; 10 * PIECE], 4 * PIECE as u64).await;
        assert!(kept.len() > 4 * PIECE && kept.len() <= 6 * PIECE, "{}", kept.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_falls_silent_or_dawdles_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (mut client, mut body) = tokio::io::duplex(16);
        client.write_all(b"half").await.unwrap();
        let silent = spool(&mut body, 100, LONG * 60, folder.path()).await;
        assert!(matches!(silent, Err(SpoolError::Slow)));
        let (mut client, mut body) = tokio::io::duplex(1);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SILENCE_MAX / 2).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        let dawdling = spool(&mut body, 1000, LONG, folder.path()).await;
        assert!(matches!(dawdling, Err(SpoolError::Slow)));
    }
}
