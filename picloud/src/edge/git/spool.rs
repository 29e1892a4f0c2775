//! Spools a push until it is complete, so that a slow client holds neither memory nor a permit to run: a small one in memory, a larger one
//! in an unnamed file, which is gone with the process. The total size of the files and the minimum rate are limited.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use git_receiver::PackBytes;
use platform::executor::evictable_slots::{EvictablePermit, NoSlotError};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, ReadBuf};

use crate::edge::min_rate::{MinRate, RateMeter};

/// The window over which the rate of a client is averaged. A client that packs while it sends pauses at times.
const RATE_WINDOW: Duration = Duration::from_secs(15);

/// The size up to which a request is spooled in memory.
const IN_MEMORY_MAX: usize = 64 * 1024;

/// The sizes of a read from the connection: to spool and to discard.
const CHUNK: usize = 32 * 1024;
const DISCARD_CHUNK: usize = 4 * 1024;

/// The message of an eviction.
pub(super) const EVICTED: &str =
    "evicted for others, since this token has the most transfers in progress; try again in a moment";

/// Why a request was not spooled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The client was slower than the minimum rate, or exceeded the timeout.
    #[error("push timeout: the client sends too slowly")]
    Timeout,
    /// Evicted for a holder with fewer slots.
    #[error("{EVICTED}")]
    Evicted,
    /// The spool space is in use by other pushes, and no other holder has more of it.
    #[error("no spool space for the push besides others of this token or app")]
    NoSpace,
    /// The connection was lost, or the body cannot be decompressed.
    #[error("push incomplete: {0}")]
    Disconnected(#[source] io::Error),
    /// The data folder cannot be written.
    #[error("the server cannot store the push: {0}")]
    Storage(#[source] io::Error),
}

/// A request that was not spooled.
#[derive(Debug)]
pub(super) struct SpoolFailure {
    pub(super) error: SpoolError,
    /// The start of the request, with the commands: they are needed to reject the push in git's protocol.
    pub(super) head: Vec<u8>,
}

/// A complete request, to be read from its start.
pub(super) enum Spooled {
    Memory(io::Cursor<Vec<u8>>),
    File(File),
}

/// The limits of spooling.
pub(super) struct SpoolLimits<'a> {
    /// The maximum size of a request. Up to as much again is read and discarded: git reads the response only after it has sent everything.
    pub(super) bytes_max: u64,
    /// The maximum time to receive a request.
    pub(super) timeout: Duration,
    /// The minimum rate of the client.
    pub(super) min_rate: MinRate,
    /// The directory of spool files.
    pub(super) dir: &'a Path,
}

/// Spools `body` until it is evicted from its `slot`, which also accounts for its spool space.
pub(super) async fn spool(
    body: &mut (impl AsyncRead + Unpin),
    limits: &SpoolLimits<'_>,
    slot: &EvictablePermit,
) -> Result<Spooled, SpoolFailure> {
    let mut buffer = SpoolBuffer::default();
    let result = tokio::select! {
        result = tokio::time::timeout(limits.timeout, receive(body, limits, slot, &mut buffer)) => {
            result.unwrap_or(Err(SpoolError::Timeout))
        }
        () = slot.evicted() => Err(SpoolError::Evicted),
    };
    let SpoolBuffer { memory, file } = buffer;
    match (result, file) {
        (Err(error), _) => Err(SpoolFailure { error, head: memory }),
        (Ok(()), None) => Ok(Spooled::Memory(io::Cursor::new(memory))),
        (Ok(()), Some(mut file)) => match rewind(&mut file).await {
            Ok(()) => Ok(Spooled::File(file)),
            Err(error) => Err(SpoolFailure { error: SpoolError::Storage(error), head: memory }),
        },
    }
}

/// Reads and discards the rest of a request: git reads the response only after it has sent everything.
pub(super) async fn discard(body: &mut (impl AsyncRead + Unpin), limits: &SpoolLimits<'_>) {
    let read_all = async {
        let mut left = limits.bytes_max.saturating_mul(2);
        let mut chunk = [0; DISCARD_CHUNK];
        let mut meter = RateMeter::with_grace_window(limits.min_rate, RATE_WINDOW);
        while left > 0 && meter.is_met() {
            match tokio::time::timeout_at(meter.window_end(), body.read(&mut chunk)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(read)) => {
                    meter.add(read);
                    left = left.saturating_sub(read as u64);
                }
                Err(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(limits.timeout, read_all).await;
}

/// The received part of a request.
#[derive(Default)]
struct SpoolBuffer {
    /// The whole request, or its start where there is a file.
    memory: Vec<u8>,
    file: Option<File>,
}

/// Reads the whole request. After a failure the rest is discarded.
async fn receive(
    body: &mut (impl AsyncRead + Unpin),
    limits: &SpoolLimits<'_>,
    slot: &EvictablePermit,
    buffer: &mut SpoolBuffer,
) -> Result<(), SpoolError> {
    let mut failed: Option<SpoolError> = None;
    let mut received = 0u64;
    let mut chunk = vec![0; CHUNK];
    let mut meter = RateMeter::with_grace_window(limits.min_rate, RATE_WINDOW);
    while received < limits.bytes_max.saturating_mul(2) {
        let read = match tokio::time::timeout_at(meter.window_end(), body.read(&mut chunk)).await {
            Ok(Ok(0)) => break,
            Ok(read) => &chunk[..read.map_err(SpoolError::Disconnected)?],
            Err(_) => &[],
        };
        meter.add(read.len());
        if !meter.is_met() {
            return Err(SpoolError::Timeout);
        }
        received += read.len() as u64;
        if received > limits.bytes_max.saturating_add(CHUNK as u64) || failed.is_some() {
            continue;
        }
        let SpoolBuffer { memory, file } = buffer;
        if file.is_none() && memory.len() + read.len() <= IN_MEMORY_MAX {
            memory.extend_from_slice(read);
            continue;
        }
        let more = read.len() + if file.is_none() { memory.len() } else { 0 };
        failed = match slot.try_grow(more as u64) {
            Ok(()) => append(file, limits.dir, memory, read).await.err().map(SpoolError::Storage),
            Err(NoSlotError) => Some(SpoolError::NoSpace),
        };
    }
    failed.map_or(Ok(()), Err)
}

/// Appends to the spool file; a new file starts with the bytes in memory.
async fn append(file: &mut Option<File>, dir: &Path, memory: &[u8], read: &[u8]) -> io::Result<()> {
    if file.is_none() {
        file.insert(File::from_std(tempfile::tempfile_in(dir)?)).write_all(memory).await?;
    }
    match file {
        Some(file) => file.write_all(read).await,
        None => Ok(()),
    }
}

async fn rewind(file: &mut File) -> io::Result<()> {
    file.flush().await?;
    file.rewind().await.map(drop)
}

impl Spooled {
    /// The part that has not been read: the pack, once the commands have been.
    pub(super) async fn into_pack(self) -> io::Result<PackBytes> {
        match self {
            Self::Memory(bytes) => {
                let read = usize::try_from(bytes.position()).unwrap_or(usize::MAX);
                let bytes = Bytes::from(bytes.into_inner());
                Ok(bytes.slice(read.min(bytes.len())..).into())
            }
            Self::File(mut file) => {
                let read = file.stream_position().await?;
                PackBytes::from_file(file.into_std().await, read)
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
    use manifest_schema::name::AppName;
    use platform::executor::Holder;
    use platform::executor::evictable_slots::{EvictableSlots, SlotLimits};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn places() -> EvictableSlots {
        EvictableSlots::new(SlotLimits { slots: 1, app_slots: 1, bytes: 1024 * 1024, app_bytes: 1024 * 1024 })
    }

    fn holder(token: u128) -> Holder {
        Holder::new(Some(uuid::Uuid::from_u128(token)), None, AppName::new("app").unwrap())
    }

    fn limits(bytes_max: u64, timeout: Duration, dir: &Path) -> SpoolLimits<'_> {
        SpoolLimits { bytes_max, timeout, min_rate: MinRate::default(), dir }
    }

    async fn spool_and_read(body: &[u8], bytes_max: u64) -> (Vec<u8>, bool) {
        let (folder, place) = (tempfile::tempdir().unwrap(), places().try_acquire(&holder(1)).unwrap());
        let limits = limits(bytes_max, LONG, folder.path());
        let mut spooled = spool(&mut &*body, &limits, &place).await.unwrap();
        let in_file = matches!(spooled, Spooled::File(_));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        let mut read = Vec::new();
        spooled.read_to_end(&mut read).await.unwrap();
        (read, in_file)
    }

    #[tokio::test]
    async fn request_is_read_back_unchanged() {
        for (length, in_file) in
            [(0, false), (10, false), (IN_MEMORY_MAX, false), (IN_MEMORY_MAX * 5 + 7, true)]
        {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(spool_and_read(&body, u64::MAX).await, (body, in_file), "{length}");
        }
    }

    #[tokio::test]
    async fn bytes_beyond_limit_are_discarded() {
        let (read, _) = spool_and_read(&vec![7; 10 * CHUNK], 4 * CHUNK as u64).await;
        assert!(read.len() > 4 * CHUNK && read.len() <= 6 * CHUNK, "{}", read.len());
    }

    #[tokio::test]
    async fn request_without_spool_space_keeps_its_start() {
        let (folder, place) = (tempfile::tempdir().unwrap(), places().try_acquire(&holder(1)).unwrap());
        let limits = limits(u64::MAX, LONG, folder.path());
        let long = vec![7; 1024 * 1024 + 1];
        let result = spool(&mut &*long, &limits, &place).await;
        let Err(SpoolFailure { error: SpoolError::NoSpace, head }) = result else { panic!("it has space") };
        assert_eq!(head.len(), IN_MEMORY_MAX);
    }

    /// Spools the request of a client that sends `bytes` each second.
    async fn spool_slow_client(bytes: usize, timeout: Duration) -> (Result<Spooled, SpoolFailure>, Duration) {
        let (folder, place) = (tempfile::tempdir().unwrap(), places().try_acquire(&holder(1)).unwrap());
        let (mut client, mut body) = tokio::io::duplex(CHUNK);
        client.write_all(b"half").await.unwrap();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if client.write_all(&vec![b'x'; bytes]).await.is_err() {
                    return;
                }
            }
        });
        let started = tokio::time::Instant::now();
        let result = spool(&mut body, &limits(u64::MAX, timeout, folder.path()), &place).await;
        (result, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn client_below_minimum_rate_times_out() {
        for (bytes, ends) in [(0, 2 * RATE_WINDOW), (1000, 2 * RATE_WINDOW), (1100, LONG * 60)] {
            let (dropped, after) = spool_slow_client(bytes, LONG * 60).await;
            let Err(SpoolFailure { error: SpoolError::Timeout, head }) = dropped else { panic!("{bytes}") };
            assert!(head.starts_with(b"half"));
            assert_eq!(after, ends, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn evicted_client_is_dropped() {
        let (folder, places) = (
            tempfile::tempdir().unwrap(),
            EvictableSlots::new(SlotLimits { slots: 2, app_slots: 2, bytes: 0, app_bytes: 0 }),
        );
        let hog = [1, 1].map(|token| places.try_acquire(&holder(token)).unwrap());
        let (_client, mut body) = tokio::io::duplex(16);
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(places.try_acquire(&holder(2)).unwrap());
        };
        let limits = limits(u64::MAX, LONG, folder.path());
        let (result, ()) = tokio::join!(spool(&mut body, &limits, &hog[0]), other);
        assert!(matches!(result, Err(SpoolFailure { error: SpoolError::Evicted, .. })));
    }
}
