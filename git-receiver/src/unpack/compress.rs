//! Compresses what came as a delta, as rows and packs hold objects.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

/// Compresses what came as a delta. Quickly: it is a part of the time of a push, and deltas are small. One for all of a pack:
/// making one anew takes longer than compressing most of them.
pub(super) struct Compressor(Compress);

impl Compressor {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }

    pub(super) fn compress(&mut self, content: &[u8]) -> Bytes {
        self.0.reset();
        // Half of the content is what text takes; what does not fit makes it grow.
        let mut out = Vec::with_capacity(content.len() / 2 + 64);
        loop {
            let read = usize::try_from(self.0.total_in()).unwrap_or(content.len());
            let status = self.0.compress_vec(&content[read..], &mut out, FlushCompress::Finish);
            match status.expect("a stream that was just reset takes any bytes") {
                Status::StreamEnd => break,
                _ => out.reserve(out.capacity().max(64)),
            }
        }
        out.shrink_to_fit();
        out.into()
    }
}
