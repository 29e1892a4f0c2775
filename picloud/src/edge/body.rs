//! The body of a request, read whole into memory that is held for it. It takes none of the slots of an app: those are for scripts
//! that run.

use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use platform::live::Live;
use platform::memory::{Account, OutOfMemory, Purpose, Reservation};
use platform::tally::RejectReason;
use serde_json::json;
use tokio::time::Instant;

use super::pace::{MinRate, Pace};
use super::reply;

/// What a body takes without holding memory of the budget, as long as nothing of it has to be waited for; and the least that is
/// held where it has, for the request with its head.
const UNHELD_MAX: usize = 16 * 1024;

/// How much more is held at a time.
const CHUNK: usize = 64 * 1024;

/// The longest span over which the rate of a body is averaged.
pub(super) const SPAN_MAX: Duration = Duration::from_secs(10);

/// How long a client may take to send a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyBounds {
    /// From when it is asked for to its last byte.
    pub(crate) time: Duration,
    /// The least rate, averaged over a third of that, ten seconds at the most; the first of these is free.
    pub(crate) min_rate: MinRate,
}

impl Default for BodyBounds {
    fn default() -> Self {
        Self { time: Duration::from_secs(30), min_rate: MinRate::default() }
    }
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge { bytes_max: u64 },
    CutOff,
    Timeout,
    TooSlow { min_rate: MinRate },
    NoMemory(OutOfMemory),
}

/// Reads the body of a request to an app, for which the app holds memory. What is refused is counted.
pub(super) async fn read_for_app<B>(live: &Live, body: B, bounds: BodyBounds) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let read = read_body(body, live.revision.limits().body, bounds, live.memory()).await;
    match &read {
        Err(BodyError::TooLarge { .. }) => live.tally().rejected(RejectReason::Body),
        Err(BodyError::NoMemory(error)) => live.note_out_of_memory(Purpose::Requests, error),
        _ => {}
    }
    read
}

/// Reads a body of at most `bytes_max` bytes, which are held of `account` until the last part of it is dropped.
pub(super) async fn read_body<B>(
    body: B,
    bytes_max: u64,
    bounds: BodyBounds,
    account: &Account,
) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // A body that says how long it is need not be asked for.
    if body.size_hint().lower() > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    Box::pin(read(body, bytes_max, bounds, account)).await
}

async fn read<B>(body: B, bytes_max: u64, bounds: BodyBounds, account: &Account) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut whole = Whole::new(account, Purpose::Requests);
    let mut body = pin!(body);
    let deadline = Instant::now() + bounds.time;
    let mut pace = Pace::from_next_span(bounds.min_rate, SPAN_MAX.min(bounds.time / 3));
    loop {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                whole.hold()?;
                let until = deadline.min(pace.span_ends());
                match tokio::time::timeout_at(until, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) if until == deadline => return Err(BodyError::Timeout),
                    Err(_) if pace.is_kept() => continue,
                    Err(_) => return Err(BodyError::TooSlow { min_rate: bounds.min_rate }),
                }
            }
        };
        let data = match frame {
            None => return Ok(whole.into_bytes()),
            Some(Err(_)) => return Err(BodyError::CutOff),
            // Trailers are for nobody.
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if data.len() > most - whole.length() {
            return Err(BodyError::TooLarge { bytes_max });
        }
        whole.add(&data)?;
        pace.add(data.len());
        if !pace.is_kept() {
            return Err(BodyError::TooSlow { min_rate: bounds.min_rate });
        }
    }
}

/// What has come of a body, in chunks of one size: were it one that grows, what others have let go would seldom fit.
pub(super) struct Whole<'a> {
    account: &'a Account,
    purpose: Purpose,
    chunks: Vec<Vec<u8>>,
    length: usize,
    held: Option<Reservation>,
}

impl<'a> Whole<'a> {
    /// Nothing, so far.
    pub(super) fn new(account: &'a Account, purpose: Purpose) -> Self {
        Self { account, purpose, chunks: Vec::new(), length: 0, held: None }
    }

    /// How many bytes have come.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Adds what came.
    pub(super) fn add(&mut self, mut data: &[u8]) -> Result<(), OutOfMemory> {
        while !data.is_empty() {
            let room = self.chunks.last().map_or(0, |chunk| chunk.capacity() - chunk.len());
            if room == 0 {
                self.add_chunk()?;
                continue;
            }
            let (some, rest) = data.split_at(room.min(data.len()));
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.extend_from_slice(some);
            }
            self.length += some.len();
            data = rest;
        }
        Ok(())
    }

    fn add_chunk(&mut self) -> Result<(), OutOfMemory> {
        let bytes = if self.chunks.is_empty() { UNHELD_MAX } else { CHUNK };
        if !self.chunks.is_empty() {
            self.hold()?.try_grow(bytes as u64)?;
        }
        self.chunks.push(Vec::with_capacity(bytes));
        Ok(())
    }

    /// What is held for this body; from the first time on, the first chunk is.
    pub(super) fn hold(&mut self) -> Result<&mut Reservation, OutOfMemory> {
        let held = match self.held.take() {
            Some(held) => held,
            None => self.account.try_reserve(self.purpose, UNHELD_MAX as u64)?,
        };
        Ok(self.held.insert(held))
    }

    /// All of it, in one piece. Chunks and piece are there at once, for as long as it takes to copy them: what has come whole is
    /// not refused for that, and no more of them are copied than there are threads.
    pub(super) fn into_bytes(mut self) -> Bytes {
        if self.chunks.len() > 1 {
            let held = self.account.charge(self.purpose, self.length as u64);
            self.chunks = vec![self.chunks.concat()];
            self.held = Some(held);
        }
        let piece = self.chunks.pop().unwrap_or_default();
        match self.held {
            Some(held) => held.into_bytes(piece),
            None => piece.into(),
        }
    }
}

impl From<OutOfMemory> for BodyError {
    fn from(error: OutOfMemory) -> Self {
        Self::NoMemory(error)
    }
}

impl BodyError {
    /// What a client reads of it.
    pub(super) fn words(&self) -> String {
        match self {
            Self::TooLarge { .. } => "body too large".to_owned(),
            Self::CutOff => "the body was cut off".to_owned(),
            Self::Timeout => "the body took too long".to_owned(),
            Self::TooSlow { min_rate } => {
                format!("the body came with less than {} bytes a second", min_rate.bytes_per_second)
            }
            Self::NoMemory(error) => reply::no_memory(error).to_owned(),
        }
    }

    /// The status that says it.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CutOff => StatusCode::BAD_REQUEST,
            Self::Timeout | Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::NoMemory(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer to someone who has called a script.
    pub(super) fn answer(&self) -> Response<Body> {
        let mut words = json!({"error": self.words()});
        if let Self::TooLarge { bytes_max } = self {
            words["limit"] = json!(bytes_max);
        }
        let response = reply::json(self.status(), &words);
        match self {
            Self::NoMemory(_) => reply::wait(response, reply::MEMORY_RETRY),
            _ => response,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use hyper::body::Frame;
    use platform::memory::MemoryBudget;

    use super::*;

    const KIB: usize = 1024;

    /// A body of pieces with a pause before each.
    fn pieces(number: usize, bytes: usize, pause: Duration) -> impl hyper::body::Body<Data = Bytes> {
        let piece = move |left: usize| async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let frame = Frame::data(Bytes::from(vec![b'a'; bytes]));
            (left > 0).then(|| (Ok::<_, Infallible>(frame), left - 1))
        };
        http_body_util::StreamBody::new(stream::unfold(number, piece))
    }

    async fn read(
        body: impl hyper::body::Body<Data = Bytes>,
        budget: &MemoryBudget,
    ) -> Result<Bytes, BodyError> {
        read_body(body, 256 * KIB as u64, BodyBounds::default(), &budget.node_account()).await
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_held_for_what_is_large_or_waited_for() {
        let budget = MemoryBudget::new(4 * 1024 * KIB as u64);
        let used = || budget.usage().used_bytes as usize;
        let (now, soon) = (Duration::ZERO, Duration::from_millis(1));
        let at_once = read(pieces(8, 1000, now), &budget).await.unwrap();
        assert_eq!((at_once.len(), used()), (8000, 0));
        let waited_for = read(pieces(8, 1000, soon), &budget).await.unwrap();
        assert_eq!((waited_for.len(), used()), (8000, UNHELD_MAX));
        drop(waited_for);
        let large = read(pieces(100, 2000, now), &budget).await.unwrap();
        assert_eq!(large.len(), 200_000);
        assert!(used() >= 200_000 && used() <= 256 * KIB, "{}", used());
        drop(large);
        assert_eq!(used(), 0);
        assert!(budget.usage().peak_bytes as usize <= 2 * 256 * KIB, "{:?}", budget.usage());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_room_ends_where_the_room_does() {
        let budget = MemoryBudget::new(512 * KIB as u64);
        let soon = Duration::from_millis(1);
        let refused = read(pieces(100, 2000, soon), &budget).await.unwrap_err();
        assert!(matches!(refused, BodyError::NoMemory(OutOfMemory::App { .. })), "{refused:?}");
        assert_eq!(budget.usage().used_bytes, 0);
        assert_eq!(read(pieces(10, 2000, soon), &budget).await.unwrap().len(), 20_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_its_time_its_rate_and_its_length() {
        let budget = MemoryBudget::unbounded();
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let slow = read(pieces(1000, 1000, second), &budget).await.unwrap_err();
        assert_eq!(slow, BodyError::TooSlow { min_rate: MinRate::default() });
        assert!(began.elapsed() <= 21 * second, "{:?}", began.elapsed());
        assert_eq!(read(pieces(1000, 1100, second), &budget).await.unwrap_err(), BodyError::Timeout);
        assert_eq!(read(pieces(19, 1000, second), &budget).await.unwrap().len(), 19_000);
        let silent = read(pieces(1, 1000, 60 * second), &budget).await.unwrap_err();
        assert_eq!(silent, BodyError::TooSlow { min_rate: MinRate::default() });
        let too_long = read(pieces(257, KIB, Duration::ZERO), &budget).await.unwrap_err();
        assert_eq!(too_long, BodyError::TooLarge { bytes_max: 256 * KIB as u64 });
    }
}
