//! Finds the end of a pack (gitformat-pack). An HTTP request ends with its body. On a connection the client can keep its
//! side open while it waits for the response, so only the pack itself tells where it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::{Decompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, ReadBuf};

/// The length of a SHA-1 id: of a ref-delta base, and of the trailing checksum.
const ID_LENGTH: usize = 20;

/// Reads a pack up to and including its checksum, and then reports end of file. It ends early at the first error, which
/// [`unpack`](mod@crate::unpack) reports. Every entry is inflated only for its length, which is the extra cost of a
/// connection over a request.
pub(crate) struct PackReader<R> {
    input: R,
    state: ScanState,
    /// The number of entries to come.
    entries: u32,
    stream: Decompress,
    /// How many more bytes the entries can inflate to.
    inflated_left: u64,
}

/// The position in the pack.
enum ScanState {
    Header(Vec<u8>),
    /// In type and size of an entry; the type, once it is known.
    Head(Option<u8>),
    /// In the offset of an ofs-delta.
    Distance,
    /// In the base id of a ref-delta; the number of bytes to come.
    Base(usize),
    Zlib,
    Checksum(usize),
    /// After the pack, or after an error.
    End,
}

impl<R: AsyncRead + Unpin> PackReader<R> {
    /// Reads a pack from `input` whose entries inflate to at most `inflated_bytes`.
    pub(crate) fn new(input: R, inflated_bytes: u64) -> Self {
        Self {
            input,
            state: ScanState::Header(Vec::with_capacity(12)),
            entries: 0,
            stream: Decompress::new(true),
            inflated_left: inflated_bytes,
        }
    }

    /// Consumes the part of `bytes` that belongs to the current state, at least one byte. Returns the number of bytes.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            ScanState::Header(seen) => {
                seen.push(bytes[0]);
                if let &[b'P', b'A', b'C', b'K', _, _, _, _, a, b, c, d] = seen.as_slice() {
                    self.entries = u32::from_be_bytes([a, b, c, d]);
                    self.state = self.next_entry();
                } else if seen.len() == 12 {
                    self.state = ScanState::End;
                }
                1
            }
            ScanState::Head(kind) => {
                let kind = *kind.get_or_insert(bytes[0] >> 4 & 7);
                if bytes[0] & 0x80 == 0 {
                    self.state = match kind {
                        6 => ScanState::Distance,
                        7 => ScanState::Base(ID_LENGTH),
                        _ => ScanState::Zlib,
                    };
                }
                1
            }
            ScanState::Distance => {
                if bytes[0] & 0x80 == 0 {
                    self.state = ScanState::Zlib;
                }
                1
            }
            ScanState::Base(left) | ScanState::Checksum(left) => {
                let read = bytes.len().min(*left);
                *left -= read;
                if *left == 0 {
                    self.state = if matches!(self.state, ScanState::Base(_)) {
                        ScanState::Zlib
                    } else {
                        ScanState::End
                    };
                }
                read
            }
            ScanState::Zlib => self.inflate(bytes),
            ScanState::End => bytes.len(),
        }
    }

    fn inflate(&mut self, bytes: &[u8]) -> usize {
        let mut scratch = [0; 8192];
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(bytes, &mut scratch, FlushDecompress::None);
        let (read, written) = (self.stream.total_in() - read, self.stream.total_out() - written);
        let lost = written > self.inflated_left;
        self.inflated_left = self.inflated_left.saturating_sub(written);
        match status {
            Ok(Status::StreamEnd) if !lost => {
                self.stream.reset(true);
                self.state = self.next_entry();
            }
            Ok(Status::Ok) if !lost && (read, written) != (0, 0) => {}
            _ => {
                self.state = ScanState::End;
                return bytes.len();
            }
        }
        usize::try_from(read).unwrap_or(bytes.len())
    }

    fn next_entry(&mut self) -> ScanState {
        if self.entries == 0 {
            return ScanState::Checksum(ID_LENGTH);
        }
        self.entries -= 1;
        ScanState::Head(None)
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for PackReader<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let reader = self.get_mut();
        if matches!(reader.state, ScanState::End) {
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        ready!(Pin::new(&mut reader.input).poll_read(context, out))?;
        let mut at = before;
        while at < out.filled().len() && !matches!(reader.state, ScanState::End) {
            at += reader.advance(&out.filled()[at..]);
        }
        // The bytes after the pack are not part of it.
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

    /// An entry with a size of two bytes, which no test reads.
    fn entry(kind: u8, base: &[u8], content: &[u8]) -> Vec<u8> {
        [&[kind << 4 | 0x80, 1], base, &compress(content)].concat()
    }

    /// A pack with all kinds of entries; its checksum is not verified.
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
    async fn bytes_after_the_pack_are_not_read() {
        for pack in [pack(100), pack(1_000_000), [&b"PACK\0\0\0\x02\0\0\0\0"[..], &[7; 20]].concat()] {
            assert_eq!(read(&[&pack[..], b"0000 and more"].concat(), 2_000_000).await, pack);
        }
    }

    #[tokio::test]
    async fn end_is_found_while_the_client_waits() {
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
    async fn malformed_pack_ends_early() {
        let mut damaged = pack(100);
        damaged[14..30].fill(0xff);
        for bad in [b"TRASH and nothing else".to_vec(), damaged] {
            let endless = bad.as_slice().chain(tokio::io::repeat(0xff)).take(50_000_000);
            let read = PackReader::new(endless, u64::MAX).read_to_end(&mut Vec::new()).await.unwrap();
            assert!(read < 1_000_000, "{read}");
        }
    }

    #[tokio::test]
    async fn pack_beyond_inflate_limit_ends_early() {
        let bomb = pack(10_000_000);
        let (half, rest) = bomb.split_at(bomb.len() / 2);
        let mut found = Vec::new();
        PackReader::new(half.chain(rest), 1_000_000).read_to_end(&mut found).await.unwrap();
        assert!(found.len() <= half.len(), "it read beyond the limit");
    }
}
