//! Takes in a request until it is whole, so that a slow client holds neither memory nor a turn among those who work: a
//! small one in memory, a larger one in a file without a name, which is gone with the process. What files hold together is
//! bounded, and so is how slowly they grow.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use git_receiver::PackBytes;
use platform::executor::places::{NoPlace, Place};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, ReadBuf};

use crate::edge::pace::{MinRate, Pace};

/// Over what time the rate of a client is averaged: one that packs as it sends pauses at times.
const SPAN: Duration = Duration::from_secs(15);

/// How much of a request is kept in memory.
const IN_MEMORY_MAX: usize = 64 * 1024;

/// How much is read from the connection at a time, and of what is not kept.
const PIECE: usize = 32 * 1024;
const DISCARDED_PIECE: usize = 4 * 1024;

/// Why something ended whose place others wanted, who had fewer.
pub(super) const GAVE_WAY: &str =
    "it gave way to others, since this token has most of what is on its way; try again in a moment";

/// Why a request was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The client sent too little for too long, or took too long in all.
    #[error("the push took too long to arrive")]
    Slow,
    /// Others, who had fewer, wanted its place.
    #[error("{GAVE_WAY}")]
    GaveWay,
    /// Too much of other pushes is there, and of nobody more than of this one's token.
    #[error("there is no room for the push beside others of this token or app")]
    NoRoom,
    /// The connection broke, or what it brought cannot be decompressed.
    #[error("the push was cut off: {0}")]
    Cut(#[source] io::Error),
    /// The server cannot keep it.
    #[error("the server cannot keep the push: {0}")]
    Keep(#[source] io::Error),
}

/// A request that was not taken in.
#[derive(Debug)]
pub(super) struct NotSpooled {
    pub(super) error: SpoolError,
    /// How it begins: what the client asks for, so that it can be told in git's way.
    pub(super) head: Vec<u8>,
}

/// A whole request, to be read from its beginning.
pub(super) enum Spooled {
    Memory(io::Cursor<Vec<u8>>),
    File(File),
}

/// How a request is taken in.
pub(super) struct SpoolBounds<'a> {
    /// Its most bytes. What is beyond is read, up to as much again, and thrown away: a client reads its answer only when it has
    /// sent everything.
    pub(super) bytes: u64,
    /// The longest that it can take.
    pub(super) time: Duration,
    /// How slowly it can come.
    pub(super) min_rate: MinRate,
    /// Where files are.
    pub(super) folder: &'a Path,
}

/// Takes in `body`, for as long as it has its `place`, in which its bytes count.
pub(super) async fn spool(
    body: &mut (impl AsyncRead + Unpin),
    bounds: &SpoolBounds<'_>,
    place: &Place,
) -> Result<Spooled, NotSpooled> {
    let mut kept = Kept::default();
    let taken = tokio::select! {
        taken = tokio::time::timeout(bounds.time, take(body, bounds, place, &mut kept)) => {
            taken.unwrap_or(Err(SpoolError::Slow))
        }
        () = place.given_way() => Err(SpoolError::GaveWay),
    };
    let Kept { memory, file } = kept;
    match (taken, file) {
        (Err(error), _) => Err(NotSpooled { error, head: memory }),
        (Ok(()), None) => Ok(Spooled::Memory(io::Cursor::new(memory))),
        (Ok(()), Some(mut file)) => match rewound(&mut file).await {
            Ok(()) => Ok(Spooled::File(file)),
            Err(error) => Err(NotSpooled { error: SpoolError::Keep(error), head: memory }),
        },
    }
}

/// Reads what is left of a request that is not taken in: a client reads its answer only when it has sent everything, or stops.
pub(super) async fn discard(body: &mut (impl AsyncRead + Unpin), bounds: &SpoolBounds<'_>) {
    let reading = async {
        let mut left = bounds.bytes.saturating_mul(2);
        let mut piece = [0; DISCARDED_PIECE];
        let mut pace = Pace::from_next_span(bounds.min_rate, SPAN);
        while left > 0 && pace.is_kept() {
            match tokio::time::timeout_at(pace.span_ends(), body.read(&mut piece)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(read)) => {
                    pace.add(read);
                    left = left.saturating_sub(read as u64);
                }
                Err(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(bounds.time, reading).await;
}

/// What was taken in so far.
#[derive(Default)]
struct Kept {
    /// All of it, or how it begins.
    memory: Vec<u8>,
    file: Option<File>,
}

async fn take(
    body: &mut (impl AsyncRead + Unpin),
    bounds: &SpoolBounds<'_>,
    place: &Place,
    kept: &mut Kept,
) -> Result<(), SpoolError> {
    let mut failed: Option<SpoolError> = None;
    let mut taken = 0u64;
    let mut piece = vec![0; PIECE];
    let mut pace = Pace::from_next_span(bounds.min_rate, SPAN);
    while taken < bounds.bytes.saturating_mul(2) {
        let read = match tokio::time::timeout_at(pace.span_ends(), body.read(&mut piece)).await {
            Ok(Ok(0)) => break,
            Ok(read) => &piece[..read.map_err(SpoolError::Cut)?],
            Err(_) => &[],
        };
        pace.add(read.len());
        if !pace.is_kept() {
            return Err(SpoolError::Slow);
        }
        taken += read.len() as u64;
        if taken > bounds.bytes.saturating_add(PIECE as u64) || failed.is_some() {
            continue;
        }
        let Kept { memory, file } = kept;
        if file.is_none() && memory.len() + read.len() <= IN_MEMORY_MAX {
            memory.extend_from_slice(read);
            continue;
        }
        let more = read.len() + if file.is_none() { memory.len() } else { 0 };
        failed = match place.grow(more as u64) {
            Ok(()) => keep(file, bounds.folder, memory, read).await.err().map(SpoolError::Keep),
            Err(NoPlace) => Some(SpoolError::NoRoom),
        };
    }
    failed.map_or(Ok(()), Err)
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
    use manifest_schema::name::AppName;
    use platform::executor::Holder;
    use platform::executor::places::{PlaceBounds, Places};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn places() -> Places {
        Places::new(PlaceBounds { places: 1, app_places: 1, bytes: 1024 * 1024, app_bytes: 1024 * 1024 })
    }

    fn holder(token: u128) -> Holder {
        Holder::new(Some(uuid::Uuid::from_u128(token)), None, AppName::new("app").unwrap())
    }

    fn bounds(bytes: u64, time: Duration, folder: &Path) -> SpoolBounds<'_> {
        SpoolBounds { bytes, time, min_rate: MinRate::default(), folder }
    }

    async fn taken(body: &[u8], bytes_max: u64) -> (Vec<u8>, bool) {
        let (folder, place) = (tempfile::tempdir().unwrap(), places().try_enter(&holder(1)).unwrap());
        let bounds = bounds(bytes_max, LONG, folder.path());
        let mut spooled = spool(&mut &*body, &bounds, &place).await.unwrap();
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

    #[tokio::test]
    async fn what_has_no_room_is_read_and_its_beginning_kept() {
        let (folder, place) = (tempfile::tempdir().unwrap(), places().try_enter(&holder(1)).unwrap());
        let bounds = bounds(u64::MAX, LONG, folder.path());
        let long = vec![7; 1024 * 1024 + 1];
        let refused = spool(&mut &*long, &bounds, &place).await;
        let Err(NotSpooled { error: SpoolError::NoRoom, head }) = refused else { panic!("it has room") };
        assert_eq!(head.len(), IN_MEMORY_MAX);
    }

    /// How a client fares that sends so many bytes each second.
    async fn dawdling(bytes: usize, time: Duration) -> (Result<Spooled, NotSpooled>, Duration) {
        let (folder, place) = (tempfile::tempdir().unwrap(), places().try_enter(&holder(1)).unwrap());
        let (mut client, mut body) = tokio::io::duplex(PIECE);
        client.write_all(b"half").await.unwrap();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if client.write_all(&vec![b'x'; bytes]).await.is_err() {
                    return;
                }
            }
        });
        let began = tokio::time::Instant::now();
        let taken = spool(&mut body, &bounds(u64::MAX, time, folder.path()), &place).await;
        (taken, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_falls_silent_or_dawdles_is_dropped() {
        for (bytes, ends) in [(0, 2 * SPAN), (1000, 2 * SPAN), (1100, LONG * 60)] {
            let (dropped, after) = dawdling(bytes, LONG * 60).await;
            let Err(NotSpooled { error: SpoolError::Slow, head }) = dropped else { panic!("{bytes}") };
            assert!(head.starts_with(b"half"));
            assert_eq!(after, ends, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_place_is_taken_away_is_dropped() {
        let (folder, places) = (
            tempfile::tempdir().unwrap(),
            Places::new(PlaceBounds { places: 2, app_places: 2, bytes: 0, app_bytes: 0 }),
        );
        let hog = [1, 1].map(|token| places.try_enter(&holder(token)).unwrap());
        let (_client, mut body) = tokio::io::duplex(16);
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(places.try_enter(&holder(2)).unwrap());
        };
        let bounds = bounds(u64::MAX, LONG, folder.path());
        let (given_way, ()) = tokio::join!(spool(&mut body, &bounds, &hog[0]), other);
        assert!(matches!(given_way, Err(NotSpooled { error: SpoolError::GaveWay, .. })));
    }
}
