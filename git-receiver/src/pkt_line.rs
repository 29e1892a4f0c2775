//! git's frames (gitprotocol-common, "pkt-line Format"): four hexadecimal digits of length, then that many bytes less
//! four. Lengths 0 to 2 are marks of their own.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The most bytes a frame carries.
pub(crate) const PAYLOAD_MAX: usize = 65_516;

/// The end of a list.
pub(crate) const FLUSH: &[u8] = b"0000";
/// The border between the sections of a message (protocol v2).
pub(crate) const DELIMITER: &[u8] = b"0001";

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Line(Vec<u8>),
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the request ends in the middle of a line")]
    Truncated,
    #[error("a line's length is not four hexadecimal digits")]
    Length,
    #[error("the request cannot be read: {0}")]
    Io(std::io::Error),
}

impl From<std::io::Error> for FrameError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}

/// Reads the next frame.
pub(crate) async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Result<Frame, FrameError> {
    next(reader).await?.ok_or(FrameError::Truncated)
}

/// Reads the next frame; `None`: the input ends where one would begin.
pub(crate) async fn next(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>, FrameError> {
    let mut head = [0; 4];
    if reader.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[1..]).await?;
    let length = match length(head)? {
        0 => return Ok(Some(Frame::Flush)),
        1 => return Ok(Some(Frame::Delimiter)),
        2 => return Ok(Some(Frame::ResponseEnd)),
        3 => return Err(FrameError::Length),
        length => length - 4,
    };
    let mut line = vec![0; length];
    reader.read_exact(&mut line).await?;
    Ok(Some(Frame::Line(line)))
}

fn length(head: [u8; 4]) -> Result<usize, FrameError> {
    // `from_str_radix` would take a sign too.
    if !head.iter().all(u8::is_ascii_hexdigit) {
        return Err(FrameError::Length);
    }
    let text = std::str::from_utf8(&head).map_err(|_| FrameError::Length)?;
    usize::from_str_radix(text, 16).map_err(|_| FrameError::Length)
}

/// A frame's text without the line break that most senders add.
pub(crate) fn text(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Appends a frame with `payload`, which is at most [`PAYLOAD_MAX`] bytes.
pub(crate) fn write(out: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(payload.len() <= PAYLOAD_MAX);
    out.extend_from_slice(format!("{:04x}", payload.len() + 4).as_bytes());
    out.extend_from_slice(payload);
}

/// The most bytes that a frame carries on a band of the sideband.
pub(crate) const BAND_MAX: usize = PAYLOAD_MAX - 1;

/// Appends `payload` on a band of the sideband, in as many frames as it takes.
pub(crate) fn write_band(out: &mut Vec<u8>, band: u8, payload: &[u8]) {
    for piece in payload.chunks(BAND_MAX) {
        out.extend_from_slice(&band_head(band, piece.len()));
        out.extend_from_slice(piece);
    }
}

/// What stands before `length` bytes on a band, at most [`BAND_MAX`].
pub(crate) fn band_head(band: u8, length: usize) -> [u8; 5] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |place: u32| DIGITS[(length + 5) >> (4 * place) & 0xf];
    [digit(3), digit(2), digit(1), digit(0), band]
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(mut bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            frames.push(read(&mut bytes).await?);
        }
        Ok(frames)
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut out = Vec::new();
        write(&mut out, b"hello\n");
        write(&mut out, b"");
        out.extend_from_slice(FLUSH);
        out.extend_from_slice(DELIMITER);
        let read = frames(&out).await.unwrap();
        assert_eq!(
            read,
            [Frame::Line(b"hello\n".to_vec()), Frame::Line(Vec::new()), Frame::Flush, Frame::Delimiter]
        );
    }

    #[tokio::test]
    async fn an_end_between_frames_is_no_fault() {
        let mut input = &b"0000"[..];
        assert_eq!(next(&mut input).await.unwrap(), Some(Frame::Flush));
        assert_eq!(next(&mut input).await.unwrap(), None);
        assert!(matches!(read(&mut input).await, Err(FrameError::Truncated)));
        assert!(matches!(next(&mut &b"00"[..]).await, Err(FrameError::Truncated)));
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        for bad in [&b"0003"[..], b"zzzz", b"+005x", b"00", b"0009ab"] {
            assert!(frames(bad).await.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn long_text_is_split_over_frames() {
        let mut out = Vec::new();
        write_band(&mut out, 2, &[b'x'; 70_000]);
        assert_eq!(&out[..5], b"fff0\x02");
        assert_eq!(out.len(), 70_000 + 10);
    }
}
