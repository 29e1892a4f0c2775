//! The frames that an HTTP/2 client sends and that ask for nothing: PING, SETTINGS, PRIORITY, those of unknown kinds, and DATA without any.
//! hyper answers each or passes over it, however many come. So they are counted on their way in (RFC 9113 section 10.5).

use std::time::Instant;

/// How many can come at once, and how many more in a second. A client that measures its line sends some ten a second.
const BURST: f64 = 200.0;
const FRAMES_PER_SECOND: f64 = 20.0;

/// What comes before the first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// The length, the kind, the flags and the stream of a frame.
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;

/// Counts what a client sends. It sees the bytes as they come, and keeps none but those of a frame's header.
#[derive(Debug)]
pub(super) struct IdleFrames {
    header: [u8; HEADER_BYTES],
    /// How many bytes of the header have come.
    header_bytes: usize,
    /// How many bytes are to come before the next header.
    skipped: usize,
    left: f64,
    at: Instant,
}

impl IdleFrames {
    /// Counts from the preface on.
    pub(super) fn new(now: Instant) -> Self {
        Self { header: [0; HEADER_BYTES], header_bytes: 0, skipped: PREFACE_BYTES, left: BURST, at: now }
    }

    /// Counts the frames that begin in `bytes`, which have come after all before. `false`: they are too many.
    pub(super) fn count(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        loop {
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            bytes = &bytes[skipped..];
            let (part, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.header_bytes));
            self.header[self.header_bytes..][..part.len()].copy_from_slice(part);
            self.header_bytes += part.len();
            bytes = rest;
            if self.header_bytes < HEADER_BYTES {
                return true;
            }
            let [high, middle, low, kind, flags, ..] = self.header;
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            (self.header_bytes, self.skipped) = (0, length);
            let asks = match kind {
                DATA => length > 0 || flags & END_STREAM != 0,
                HEADERS | RST_STREAM | WINDOW_UPDATE | CONTINUATION => true,
                _ => false,
            };
            if !asks && !self.take(now) {
                return false;
            }
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.at).as_secs_f64() * FRAMES_PER_SECOND;
        (self.left, self.at) = ((self.left + more).min(BURST) - 1.0, now);
        self.left >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn begun(now: Instant) -> IdleFrames {
        let mut frames = IdleFrames::new(now);
        assert!(frames.count(&[0; PREFACE_BYTES], now));
        frames
    }

    #[test]
    fn frames_that_ask_for_nothing_are_few() {
        let now = Instant::now();
        for idle in [
            frame(PING, 0, &[0; 8]),
            frame(4, 0, &[]),
            frame(4, 1, &[]),
            frame(200, 0, b"x"),
            frame(DATA, 0, &[]),
        ] {
            let mut frames = begun(now);
            let counted = (0..1000).take_while(|_| frames.count(&idle, now)).count();
            assert_eq!(counted, 200, "{idle:?}");
        }
    }

    #[test]
    fn frames_that_carry_something_are_not_counted() {
        let now = Instant::now();
        let mut frames = begun(now);
        let [headers, data, window] =
            [frame(HEADERS, 4, b"abc"), frame(DATA, 0, &[6; 20_000]), frame(WINDOW_UPDATE, 0, &[0; 4])];
        for _ in 0..1000 {
            assert!(
                [&headers, &data, &window, &frame(DATA, END_STREAM, &[])]
                    .into_iter()
                    .all(|it| frames.count(it, now))
            );
        }
    }

    #[test]
    fn frames_are_read_in_whatever_pieces_they_come() {
        let now = Instant::now();
        let flood: Vec<u8> =
            (0..300).flat_map(|_| [frame(DATA, 0, b"12345"), frame(PING, 0, &[0; 8])].concat()).collect();
        for size in [1, 2, 7, 9, 22, 23, 4096, flood.len()] {
            let mut frames = IdleFrames::new(now);
            let sent = [&[0; PREFACE_BYTES][..], &flood].concat();
            let mut pieces = sent.chunks(size);
            let refused = pieces.position(|piece| !frames.count(piece, now)).expect("too many");
            let at = (refused + 1) * size;
            let last = PREFACE_BYTES + 201 * 31;
            assert!(at + 8 >= last - size.min(last) && at <= last.next_multiple_of(size), "{size}: {at}");
        }
    }

    #[test]
    fn client_that_measures_its_line_is_let_be() {
        let mut now = Instant::now();
        let mut frames = begun(now);
        for _ in 0..10_000 {
            now += Duration::from_millis(60);
            assert!(frames.count(&frame(PING, 0, &[0; 8]), now));
        }
    }
}
