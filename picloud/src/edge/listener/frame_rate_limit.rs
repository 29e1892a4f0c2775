//! A rate limit of HTTP/2 frames that carry no request: PING, SETTINGS, PRIORITY, empty DATA and unknown types. hyper acknowledges or
//! ignores any number of them, so they are counted as they are read (RFC 9113 section 10.5).

use std::time::Instant;

/// The token bucket. A client that measures its bandwidth with PING sends some ten per second.
const BURST: f64 = 200.0;
const FRAMES_PER_SECOND: f64 = 20.0;

/// The length of the connection preface (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// The header of a frame: length, type, flags, stream.
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;

/// Parses frame headers from the bytes as they are read, and counts the frames.
#[derive(Debug)]
pub(super) struct FrameRateLimit {
    header: [u8; HEADER_BYTES],
    /// How many bytes of the header have been read.
    header_bytes: usize,
    /// How many bytes remain before the next header.
    payload_bytes: usize,
    tokens: f64,
    refilled_at: Instant,
}

impl FrameRateLimit {
    /// Starts before the preface.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            payload_bytes: PREFACE_BYTES,
            tokens: BURST,
            refilled_at: now,
        }
    }

    /// Counts the frames that begin in `bytes`, the next bytes of the connection. Returns `false` beyond the limit.
    pub(super) fn accept(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        loop {
            let payload = self.payload_bytes.min(bytes.len());
            self.payload_bytes -= payload;
            bytes = &bytes[payload..];
            let (part, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.header_bytes));
            self.header[self.header_bytes..][..part.len()].copy_from_slice(part);
            self.header_bytes += part.len();
            bytes = rest;
            if self.header_bytes < HEADER_BYTES {
                return true;
            }
            let [high, middle, low, frame_type, flags, ..] = self.header;
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            (self.header_bytes, self.payload_bytes) = (0, length);
            let is_exempt = match frame_type {
                DATA => length > 0 || flags & END_STREAM != 0,
                HEADERS | RST_STREAM | WINDOW_UPDATE | CONTINUATION => true,
                _ => false,
            };
            if !is_exempt && !self.take(now) {
                return false;
            }
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let refill = now.saturating_duration_since(self.refilled_at).as_secs_f64() * FRAMES_PER_SECOND;
        (self.tokens, self.refilled_at) = ((self.tokens + refill).min(BURST) - 1.0, now);
        self.tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    fn frame(frame_type: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[frame_type, flags, 0, 0, 0, 1], payload].concat()
    }

    fn after_preface(now: Instant) -> FrameRateLimit {
        let mut frames = FrameRateLimit::new(now);
        assert!(frames.accept(&[0; PREFACE_BYTES], now));
        frames
    }

    #[test]
    fn control_frames_are_limited() {
        let now = Instant::now();
        for control in [
            frame(PING, 0, &[0; 8]),
            frame(4, 0, &[]),
            frame(4, 1, &[]),
            frame(200, 0, b"x"),
            frame(DATA, 0, &[]),
        ] {
            let mut frames = after_preface(now);
            let counted = (0..1000).take_while(|_| frames.accept(&control, now)).count();
            assert_eq!(counted, 200, "{control:?}");
        }
    }

    #[test]
    fn request_frames_are_exempt() {
        let now = Instant::now();
        let mut frames = after_preface(now);
        let [headers, data, window] =
            [frame(HEADERS, 4, b"abc"), frame(DATA, 0, &[6; 20_000]), frame(WINDOW_UPDATE, 0, &[0; 4])];
        for _ in 0..1000 {
            assert!(
                [&headers, &data, &window, &frame(DATA, END_STREAM, &[])]
                    .into_iter()
                    .all(|it| frames.accept(it, now))
            );
        }
    }

    #[test]
    fn split_frames_are_counted() {
        let now = Instant::now();
        let flood: Vec<u8> =
            (0..300).flat_map(|_| [frame(DATA, 0, b"12345"), frame(PING, 0, &[0; 8])].concat()).collect();
        for size in [1, 2, 7, 9, 22, 23, 4096, flood.len()] {
            let mut frames = FrameRateLimit::new(now);
            let sent = [&[0; PREFACE_BYTES][..], &flood].concat();
            let mut chunks = sent.chunks(size);
            let rejected = chunks.position(|chunk| !frames.accept(chunk, now)).expect("too many");
            let at = (rejected + 1) * size;
            let last = PREFACE_BYTES + 201 * 31;
            assert!(at + 8 >= last - size.min(last) && at <= last.next_multiple_of(size), "{size}: {at}");
        }
    }

    #[test]
    fn steady_pings_are_accepted() {
        let mut now = Instant::now();
        let mut frames = after_preface(now);
        for _ in 0..10_000 {
            now += Duration::from_millis(60);
            assert!(frames.accept(&frame(PING, 0, &[0; 8]), now));
        }
    }
}
