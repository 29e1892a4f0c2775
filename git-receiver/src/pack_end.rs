//! Finds where a pack ends (gitformat-pack). A request over HTTP ends with its body; over a connection the client may keep
//! its side open and wait for the answer, and nothing but the pack itself says where it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::{Decompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, ReadBuf};

/// The length of a SHA-1 name: of the base of a ref-delta, and of the checksum at the end.
const ID_LENGTH: usize = 20;

/// Reads as far as a pack goes, its checksum included, and then ends. It ends early where it finds no pack, which
/// [`unpack`](mod@crate::unpack) then says in words. Every entry is inflated for its length alone and thrown away, which is
/// what a connection costs more than a request.
pub(crate) struct PackReader<R> {
    input: R,
    place: Place,
    /// The entries that are still to come.
    entries: u32,
    stream: Decompress,
    /// The bytes that may still come out of the entries.
    room: u64,
}

/// Where in the pack the next byte stands.
enum Place {
    Header(Vec<u8>),
    /// In type and size of an entry; the type, once it is known.
    Head(Option<u8>),
    /// In the distance of an ofs-delta.
    Distance,
    /// In the name of a base, with as many bytes to come.
    Base(usize),
    Zlib,
    Checksum(usize),
    /// Behind the pack, or lost.
    End,
}

impl<R: AsyncRead + Unpin> PackReader<R> {
    /// Reads from `input`, where a pack begins whose entries inflate to at most `inflated_bytes`.
    pub(crate) fn new(input: R, inflated_bytes: u64) -> Self {
        Self {
            input,
            place: Place::Header(Vec::with_capacity(12)),
            entries: 0,
            stream: Decompress::new(true),
            room: inflated_bytes,
        }
    }

    /// Goes on by as many of `bytes` as belong together, at least one; returns how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match &mut self.place {
            Place::Header(seen) => {
                seen.push(bytes[0]);
                if let &[b'P', b'A', b'C', b'K', _, _, _, _, a, b, c, d] = seen.as_slice() {
                    self.entries = u32::from_be_bytes([a, b, c, d]);
                    self.place = self.next_entry();
                } else if seen.len() == 12 {
                    self.place = Place::End;
                }
                1
            }
            Place::Head(kind) => {
                let kind = *kind.get_or_insert(bytes[0] >> 4 & 7);
                if bytes[0] & 0x80 == 0 {
                    self.place = match kind {
                        6 => Place::Distance,
                        7 => Place::Base(ID_LENGTH),
                        _ => Place::Zlib,
                    };
                }
                1
            }
            Place::Distance => {
                if bytes[0] & 0x80 == 0 {
                    self.place = Place::Zlib;
                }
                1
            }
            Place::Base(left) | Place::Checksum(left) => {
                let read = bytes.len().min(*left);
                *left -= read;
                if *left == 0 {
                    self.place = if matches!(self.place, Place::Base(_)) { Place::Zlib } else { Place::End };
                }
                read
            }
            Place::Zlib => self.inflate(bytes),
            Place::End => bytes.len(),
        }
    }

    fn inflate(&mut self, bytes: &[u8]) -> usize {
        let mut scratch = [0; 8192];
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(bytes, &mut scratch, FlushDecompress::None);
        let (read, written) = (self.stream.total_in() - read, self.stream.total_out() - written);
        let lost = written > self.room;
        self.room = self.room.saturating_sub(written);
        match status {
            Ok(Status::StreamEnd) if !lost => {
                self.stream.reset(true);
                self.place = self.next_entry();
            }
            Ok(Status::Ok) if !lost && (read, written) != (0, 0) => {}
            _ => {
                self.place = Place::End;
                return bytes.len();
            }
        }
        usize::try_from(read).unwrap_or(bytes.len())
    }

    fn next_entry(&mut self) -> Place {
        if self.entries == 0 {
            return Place::Checksum(ID_LENGTH);
        }
        self.entries -= 1;
        Place::Head(None)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for PackReader<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let reader = self.get_mut();
        if matches!(reader.place, Place::End) {
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        ready!(Pin::new(&mut reader.input).poll_read(context, out))?;
        let mut at = before;
        while at < out.filled().len() && !matches!(reader.place, Place::End) {
            at += reader.step(&out.filled()[at..]);
        }
        // What stands behind the pack is not the pack's.
        out.set_filled(at);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn compress(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// An entry whose size takes two bytes; nothing here reads it.
    fn entry(kind: u8, base: &[u8], content: &[u8]) -> Vec<u8> {
        [&[kind << 4 | 0x80, 1], base, &compress(content)].concat()
    }

    /// A pack of all kinds of entries; its checksum is not looked at.
    fn pack(large: usize) -> Vec<u8> {
        let entries = [
            entry(3, b"", &vec![b'x'; large]),
            entry(6, &[0x81, 5], b"delta"),
            entry(7, &[9; 20], b"delta"),
            entry(1, b"", b""),
        ];
        let head = [&b"PACK\0\0\0\x02"[..], &u32::try_from(entries.len()).unwrap().to_be_bytes()].concat();
        [head, entries.concat(), vec![7; 20]].concat()
    }

    async fn read(input: &[u8], inflated_bytes: u64) -> Vec<u8> {
        let mut found = Vec::new();
        PackReader::new(input, inflated_bytes).read_to_end(&mut found).await.unwrap();
        found
    }

    #[tokio::test]
    async fn what_stands_behind_the_pack_is_left() {
        for pack in [pack(100), pack(1_000_000), [&b"PACK\0\0\0\x02\0\0\0\0"[..], &[7; 20]].concat()] {
            assert_eq!(read(&[&pack[..], b"0000 and more"].concat(), 2_000_000).await, pack);
        }
    }

    #[tokio::test]
    async fn the_end_is_found_while_the_client_waits_whatever_the_pieces() {
        let pack = pack(30_000);
        for piece in [1, 7, pack.len()] {
            let (mut client, server) = tokio::io::duplex(piece);
            let mut found = Vec::new();
            let mut reader = PackReader::new(server, u64::MAX);
            let (read, sent) = tokio::join!(reader.read_to_end(&mut found), client.write_all(&pack));
            assert_eq!((read.unwrap(), sent.unwrap()), (pack.len(), ()), "in pieces of {piece}");
            drop(client);
        }
    }

    #[tokio::test]
    async fn what_is_no_pack_ends_early() {
        let mut damaged = pack(100);
        damaged[14..30].fill(0xff);
        for bad in [b"TRASH and nothing else".to_vec(), damaged] {
            let endless = bad.as_slice().chain(tokio::io::repeat(0xff)).take(50_000_000);
            let read = PackReader::new(endless, u64::MAX).read_to_end(&mut Vec::new()).await.unwrap();
            assert!(read < 1_000_000, "{read}");
        }
    }

    #[tokio::test]
    async fn what_inflates_beyond_the_limit_ends_early() {
        let bomb = pack(10_000_000);
        let (half, rest) = bomb.split_at(bomb.len() / 2);
        let mut found = Vec::new();
        PackReader::new(half.chain(rest), 1_000_000).read_to_end(&mut found).await.unwrap();
        assert!(found.len() <= half.len(), "it read on behind the limit");
    }
}
