//! pkt-lines (gitprotocol-common, "pkt-line Format"): four hexadecimal digits of length, which include themselves, then the
//! data. Lengths 0 to 2 are special packets.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The most data bytes of a packet.
pub(crate) const PAYLOAD_MAX: usize = 65_516;

/// The flush packet, the end of a list.
pub(crate) const FLUSH: &[u8] = b"0000";
/// The delimiter packet between the sections of a message (protocol v2).
pub(crate) const DELIM: &[u8] = b"0001";

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Data(Vec<u8>),
    Flush,
    Delim,
    ResponseEnd,
}

/// Why a packet cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("the request ends in the middle of a packet")]
    Truncated,
    #[error("bad packet length")]
    Length,
    #[error("cannot read the request: {0}")]
    Io(std::io::Error),
}

impl From<std::io::Error> for PacketError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

/// Reads the next packet.
pub(crate) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Result<Packet, PacketError> {
    next(reader).await?.ok_or(PacketError::Truncated)
}

/// Reads the next packet; `None` at the end of the input.
pub(crate) async fn next(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Packet>, PacketError> {
    let mut header = [0; 4];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await?;
    let length = match length(header)? {
        0 => return Ok(Some(Packet::Flush)),
        1 => return Ok(Some(Packet::Delim)),
        2 => return Ok(Some(Packet::ResponseEnd)),
        3 => return Err(PacketError::Length),
        length => length - 4,
    };
    let mut line = vec![0; length];
    reader.read_exact(&mut line).await?;
    Ok(Some(Packet::Data(line)))
}

fn length(header: [u8; 4]) -> Result<usize, PacketError> {
    // `from_str_radix` would also accept a sign.
    if !header.iter().all(u8::is_ascii_hexdigit) {
        return Err(PacketError::Length);
    }
    let text = std::str::from_utf8(&header).map_err(|_| PacketError::Length)?;
    usize::from_str_radix(text, 16).map_err(|_| PacketError::Length)
}

/// The text of a packet without the line feed that most senders add.
pub(crate) fn text(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Appends a packet of `payload`, at most [`PAYLOAD_MAX`] bytes.
pub(crate) fn write(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= PAYLOAD_MAX);
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

/// The most data bytes of a sideband packet.
pub(crate) const SIDEBAND_DATA_MAX: usize = PAYLOAD_MAX - 1;

/// Appends `payload` as packets of one sideband.
pub(crate) fn write_sideband(out: &mut Vec<u8>, sideband: u8, payload: &[u8]) {
    for chunk in payload.chunks(SIDEBAND_DATA_MAX) {
        out.extend_from_slice(&sideband_header(sideband, chunk.len()));
        out.extend_from_slice(chunk);
    }
}

/// The header of a sideband packet with `length` bytes of data, at most [`SIDEBAND_DATA_MAX`].
pub(crate) fn sideband_header(sideband: u8, length: usize) -> [u8; 5] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |digit_index: u32| DIGITS[(length + 5) >> (4 * digit_index) & 0xf];
    [digit(3), digit(2), digit(1), digit(0), sideband]
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn packets(mut bytes: &[u8]) -> Result<Vec<Packet>, PacketError> {
        let mut packets = Vec::new();
        while !bytes.is_empty() {
            packets.push(read(&mut bytes).await?);
        }
        Ok(packets)
    }

    #[tokio::test]
    async fn packets_round_trip() {
        let mut out = Vec::new();
        write(&mut out, b"hello\n");
        write(&mut out, b"");
        out.extend_from_slice(FLUSH);
        out.extend_from_slice(DELIM);
        let read = packets(&out).await.unwrap();
        assert_eq!(
            read,
            [Packet::Data(b"hello\n".to_vec()), Packet::Data(Vec::new()), Packet::Flush, Packet::Delim]
        );
    }

    #[tokio::test]
    async fn end_of_input_between_packets_is_accepted() {
        let mut input = &b"0000"[..];
        assert_eq!(next(&mut input).await.unwrap(), Some(Packet::Flush));
        assert_eq!(next(&mut input).await.unwrap(), None);
        assert!(matches!(read(&mut input).await, Err(PacketError::Truncated)));
        assert!(matches!(next(&mut &b"00"[..]).await, Err(PacketError::Truncated)));
    }

    #[tokio::test]
    async fn malformed_packets_are_rejected() {
        for bad in [&b"0003"[..], b"zzzz", b"+005x", b"00", b"0009ab"] {
            assert!(packets(bad).await.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn long_text_is_split_into_packets() {
        let mut out = Vec::new();
        write_sideband(&mut out, 2, &[b'x'; 70_000]);
        assert_eq!(&out[..5], b"fff0\x02");
        assert_eq!(out.len(), 70_000 + 10);
    }
}
