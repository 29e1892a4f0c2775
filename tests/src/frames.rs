//! Raw HTTP/2 frames (RFC 9113), for requests that no well-behaved client sends. Header fields are sent as plain literals;
//! received ones are not decoded.

use crate::{Server, Wire};

/// Data of a stream.
pub const DATA: u8 = 0;
/// Header fields of a request or response.
pub const HEADERS: u8 = 1;
/// Reset of a stream.
pub const RST_STREAM: u8 = 3;
/// Settings of the sender.
pub const SETTINGS: u8 = 4;
/// End of the connection; no more streams are accepted.
pub const GOAWAY: u8 = 7;
/// Flow control credit.
pub const WINDOW_UPDATE: u8 = 8;

/// A ping.
pub const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The connection preface.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An HTTP/2 connection.
#[derive(Debug)]
pub struct Frames {
    wire: Wire,
}

/// A received frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The type.
    pub kind: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
    /// The payload.
    pub payload: Vec<u8>,
    flags: u8,
}

impl Frame {
    /// Whether it is the last of its stream.
    pub fn is_last(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The error code of a RST_STREAM or GOAWAY.
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

impl Frames {
    /// Connects; `settings` are identifiers and values.
    pub fn open(server: &Server, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self { wire: Wire::sent(server, PREFACE) };
        let pairs = settings.iter();
        let payload: Vec<u8> =
            pairs.flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        frames.send(SETTINGS, 0, 0, &payload);
        frames
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.wire.send([&head, payload].concat());
    }

    /// Opens a stream with a request without a body.
    pub fn request(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &literals(fields));
    }

    /// Opens a stream with GET.
    pub fn get(&mut self, stream: u32, path: &str) {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)];
        self.request(stream, &fields);
    }

    /// Resets a stream.
    pub fn reset(&mut self, stream: u32) {
        self.send(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    }

    /// The next frame except settings and pings, which are acknowledged; `None` when the server has closed the connection.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if self.wire.is_closed() {
                return None;
            }
            let head = self.wire.read(9);
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes(head[5..].try_into().expect("four bytes"));
            let payload = self.wire.read(length);
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match frame.kind {
                SETTINGS | PING if frame.flags & ACK == 0 => {
                    let payload = if frame.kind == PING { &frame.payload[..] } else { &[] };
                    self.send(frame.kind, ACK, 0, payload);
                }
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(frame),
            }
        }
    }

    /// The next frame that matches `wanted`.
    ///
    /// # Panics
    /// The server closes the connection first.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let mut seen = Vec::new();
        while let Some(frame) = self.frame() {
            if wanted(&frame) {
                return frame;
            }
            seen.push((frame.kind, frame.stream));
        }
        panic!("closed before {what}; came: {seen:?}");
    }

    /// Whether the server closes the connection, after any other frames.
    pub fn is_closed(&mut self) -> bool {
        while self.frame().is_some() {}
        true
    }

    /// Closes the connection without GOAWAY.
    pub fn close(self) {
        drop(self);
    }
}

/// Header fields as literals without indexing and without Huffman coding (RFC 7541 section 6.2.2).
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            match text.len() {
                length @ 0..127 => block.push(length as u8),
                length => {
                    block.push(127);
                    let mut more = length - 127;
                    while more >= 128 {
                        block.push((more % 128 + 128) as u8);
                        more /= 128;
                    }
                    block.push(more as u8);
                }
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
