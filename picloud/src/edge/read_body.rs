//! Reads a whole request body into reserved memory. Reading takes no concurrency slot of the app; those are for running scripts.

use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use platform::live::Live;
use platform::memory::{Account, OutOfMemory, Purpose, Reservation};
use platform::request_metrics::RejectReason;
use serde_json::json;
use tokio::time::Instant;

use super::min_rate::{MinRate, RateMeter};
use super::response;

/// The size up to which a body that arrives at once reserves no memory, and the minimum reservation for one that does not, which covers the
/// request head.
const UNRESERVED_MAX: usize = 16 * 1024;

/// The step of further reservations.
const CHUNK: usize = 64 * 1024;

/// The maximum window over which the rate of a body is averaged.
pub(super) const RATE_WINDOW_MAX: Duration = Duration::from_secs(10);

/// The time limits of request bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// The maximum time to receive a body.
    pub(crate) timeout: Duration,
    /// The minimum rate, averaged over a third of the timeout, at most ten seconds. The first window is exempt.
    pub(crate) min_rate: MinRate,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), min_rate: MinRate::default() }
    }
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge { bytes_max: u64 },
    Incomplete,
    Timeout,
    TooSlow { min_rate: MinRate },
    NoMemory(OutOfMemory),
}

/// Reads the body of a request to an app, in memory of the app. Rejections are counted.
/// `bytes_max` is the limit of the app, or of the route.
pub(super) async fn read_for_app<B>(
    live: &Live,
    body: B,
    bytes_max: u64,
    limits: BodyLimits,
) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let read = read_body(body, bytes_max, limits, live.memory()).await;
    match &read {
        Err(BodyError::TooLarge { .. }) => live.metrics().count_rejection(RejectReason::Body),
        Err(BodyError::NoMemory(error)) => live.report_out_of_memory(Purpose::Requests, error),
        _ => {}
    }
    read
}

/// Reads a body of at most `bytes_max` bytes, in memory of `account` that is reserved until the bytes are dropped.
pub(super) async fn read_body<B>(
    body: B,
    bytes_max: u64,
    limits: BodyLimits,
    account: &Account,
) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // Reject a Content-Length beyond the limit without reading.
    if body.size_hint().lower() > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    Box::pin(read(body, bytes_max, limits, account)).await
}

async fn read<B>(body: B, bytes_max: u64, limits: BodyLimits, account: &Account) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let length_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut buffer = BodyBuffer::new(account, Purpose::Requests);
    let mut body = pin!(body);
    let deadline = Instant::now() + limits.timeout;
    let mut meter = RateMeter::with_grace_window(limits.min_rate, RATE_WINDOW_MAX.min(limits.timeout / 3));
    loop {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                buffer.reservation()?;
                let wait_end = deadline.min(meter.window_end());
                match tokio::time::timeout_at(wait_end, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) if wait_end == deadline => return Err(BodyError::Timeout),
                    Err(_) if meter.is_met() => continue,
                    Err(_) => return Err(BodyError::TooSlow { min_rate: limits.min_rate }),
                }
            }
        };
        let data = match frame {
            None => return Ok(buffer.into_bytes()),
            Some(Err(_)) => return Err(BodyError::Incomplete),
            // Trailers are ignored.
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if data.len() > length_max - buffer.length() {
            return Err(BodyError::TooLarge { bytes_max });
        }
        buffer.add(&data)?;
        meter.add(data.len());
        if !meter.is_met() {
            return Err(BodyError::TooSlow { min_rate: limits.min_rate });
        }
    }
}

/// The received part of a body, in chunks of one size: memory that other bodies release would seldom fit a growing buffer.
pub(super) struct BodyBuffer<'a> {
    account: &'a Account,
    purpose: Purpose,
    chunks: Vec<Vec<u8>>,
    length: usize,
    reservation: Option<Reservation>,
}

impl<'a> BodyBuffer<'a> {
    pub(super) fn new(account: &'a Account, purpose: Purpose) -> Self {
        Self { account, purpose, chunks: Vec::new(), length: 0, reservation: None }
    }

    /// The received bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Appends received bytes.
    pub(super) fn add(&mut self, mut data: &[u8]) -> Result<(), OutOfMemory> {
        while !data.is_empty() {
            let space = self.chunks.last().map_or(0, |chunk| chunk.capacity() - chunk.len());
            if space == 0 {
                self.add_chunk()?;
                continue;
            }
            let (some, rest) = data.split_at(space.min(data.len()));
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.extend_from_slice(some);
            }
            self.length += some.len();
            data = rest;
        }
        Ok(())
    }

    fn add_chunk(&mut self) -> Result<(), OutOfMemory> {
        let bytes = if self.chunks.is_empty() { UNRESERVED_MAX } else { CHUNK };
        if !self.chunks.is_empty() {
            self.reservation()?.try_grow(bytes as u64)?;
        }
        self.chunks.push(Vec::with_capacity(bytes));
        Ok(())
    }

    /// The reservation of this body, which the first call creates for the first chunk.
    pub(super) fn reservation(&mut self) -> Result<&mut Reservation, OutOfMemory> {
        let reservation = match self.reservation.take() {
            Some(reservation) => reservation,
            None => self.account.try_reserve(self.purpose, UNRESERVED_MAX as u64)?,
        };
        Ok(self.reservation.insert(reservation))
    }

    /// The whole body as one buffer. While the chunks are copied they exist twice: a complete body is not rejected for that, and at most one
    /// copy runs per thread.
    pub(super) fn into_bytes(mut self) -> Bytes {
        if self.chunks.len() > 1 {
            let reservation = self.account.charge(self.purpose, self.length as u64);
            self.chunks = vec![self.chunks.concat()];
            self.reservation = Some(reservation);
        }
        let body = self.chunks.pop().unwrap_or_default();
        match self.reservation {
            Some(reservation) => reservation.into_bytes(body),
            None => body.into(),
        }
    }
}

impl From<OutOfMemory> for BodyError {
    fn from(error: OutOfMemory) -> Self {
        Self::NoMemory(error)
    }
}

impl BodyError {
    /// The message to the client.
    pub(super) fn message(&self) -> String {
        match self {
            Self::TooLarge { .. } => "body too large".to_owned(),
            Self::Incomplete => "request body incomplete".to_owned(),
            Self::Timeout => "request body timeout".to_owned(),
            Self::TooSlow { min_rate } => {
                format!("request body slower than {} bytes per second", min_rate.bytes_per_second)
            }
            Self::NoMemory(error) => response::out_of_memory_message(error).to_owned(),
        }
    }

    /// The status of the response.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::Timeout | Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::NoMemory(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The response to the caller of a script.
    pub(super) fn to_response(self) -> Response<Body> {
        let mut error = json!({"error": self.message()});
        if let Self::TooLarge { bytes_max } = self {
            error["limit"] = json!(bytes_max);
        }
        let response = response::json(self.status(), &error);
        match self {
            Self::NoMemory(_) => response::with_retry_after(response, response::MEMORY_RETRY),
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

    /// A body of chunks with a pause before each.
    fn chunks(number: usize, bytes: usize, pause: Duration) -> impl hyper::body::Body<Data = Bytes> {
        let chunk = move |left: usize| async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let frame = Frame::data(Bytes::from(vec![b'a'; bytes]));
            (left > 0).then(|| (Ok::<_, Infallible>(frame), left - 1))
        };
        http_body_util::StreamBody::new(stream::unfold(number, chunk))
    }

    async fn read(
        body: impl hyper::body::Body<Data = Bytes>,
        budget: &MemoryBudget,
    ) -> Result<Bytes, BodyError> {
        read_body(body, 256 * KIB as u64, BodyLimits::default(), &budget.node_account()).await
    }

    #[tokio::test(start_paused = true)]
    async fn large_or_slow_body_reserves_memory() {
        let budget = MemoryBudget::new(4 * 1024 * KIB as u64);
        let used = || budget.usage().used_bytes as usize;
        let (now, soon) = (Duration::ZERO, Duration::from_millis(1));
        let immediate = read(chunks(8, 1000, now), &budget).await.unwrap();
        assert_eq!((immediate.len(), used()), (8000, 0));
        let delayed = read(chunks(8, 1000, soon), &budget).await.unwrap();
        assert_eq!((delayed.len(), used()), (8000, UNRESERVED_MAX));
        drop(delayed);
        let large = read(chunks(100, 2000, now), &budget).await.unwrap();
        assert_eq!(large.len(), 200_000);
        assert!(used() >= 200_000 && used() <= 256 * KIB, "{}", used());
        drop(large);
        assert_eq!(used(), 0);
        assert!(budget.usage().peak_bytes as usize <= 2 * 256 * KIB, "{:?}", budget.usage());
    }

    #[tokio::test(start_paused = true)]
    async fn body_beyond_memory_budget_is_rejected() {
        let budget = MemoryBudget::new(512 * KIB as u64);
        let soon = Duration::from_millis(1);
        let rejected = read(chunks(100, 2000, soon), &budget).await.unwrap_err();
        assert!(matches!(rejected, BodyError::NoMemory(OutOfMemory::App { .. })), "{rejected:?}");
        assert_eq!(budget.usage().used_bytes, 0);
        assert_eq!(read(chunks(10, 2000, soon), &budget).await.unwrap().len(), 20_000);
    }

    #[tokio::test(start_paused = true)]
    async fn body_beyond_time_rate_or_length_limit_is_rejected() {
        let budget = MemoryBudget::unbounded();
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let slow = read(chunks(1000, 1000, second), &budget).await.unwrap_err();
        assert_eq!(slow, BodyError::TooSlow { min_rate: MinRate::default() });
        assert!(began.elapsed() <= 21 * second, "{:?}", began.elapsed());
        assert_eq!(read(chunks(1000, 1100, second), &budget).await.unwrap_err(), BodyError::Timeout);
        assert_eq!(read(chunks(19, 1000, second), &budget).await.unwrap().len(), 19_000);
        let silent = read(chunks(1, 1000, 60 * second), &budget).await.unwrap_err();
        assert_eq!(silent, BodyError::TooSlow { min_rate: MinRate::default() });
        let too_long = read(chunks(257, KIB, Duration::ZERO), &budget).await.unwrap_err();
        assert_eq!(too_long, BodyError::TooLarge { bytes_max: 256 * KIB as u64 });
    }
}
