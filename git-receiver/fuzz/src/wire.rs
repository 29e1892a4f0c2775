//! Encoders of packets, packs and deltas, and an independent delta decoder.

use std::io::Write as _;

use git_receiver::{Kind, ObjectId};

/// The SHA-1 of the concatenated `parts`.
pub fn sha1(parts: &[&[u8]]) -> ObjectId {
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.try_finalize().expect("no collision by chance")
}

/// The id of an object.
pub fn name(kind: Kind, content: &[u8]) -> ObjectId {
    sha1(&[format!("{kind} {}\0", content.len()).as_bytes(), content])
}

/// A packet.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    [format!("{:04x}", payload.len() + 4).as_bytes(), payload].concat()
}

/// The packets of a response, `None` for special packets, and the rest that is no packet.
pub fn frames(mut bytes: &[u8]) -> (Vec<Option<&[u8]>>, &[u8]) {
    let mut frames = Vec::new();
    loop {
        let length = bytes.get(..4).and_then(|head| std::str::from_utf8(head).ok());
        let length = length.and_then(|head| usize::from_str_radix(head, 16).ok());
        match length {
            Some(mark @ 0..=2) => {
                bytes = &bytes[4..];
                frames.push(None);
                let _ = mark;
            }
            Some(length) if (4..=bytes.len()).contains(&length) => {
                frames.push(Some(&bytes[4..length]));
                bytes = &bytes[length..];
            }
            _ => return (frames, bytes),
        }
    }
}

/// A compressed zlib stream.
pub fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail")
}

/// An uncompressed zlib stream, which is much faster to encode (RFC 1950 and 1951).
pub fn store(content: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let mut pieces = content.chunks(0xffff).peekable();
    loop {
        let piece = pieces.next().unwrap_or_default();
        let length = u16::try_from(piece.len()).expect("a piece is not longer");
        zlib.push(u8::from(pieces.peek().is_none()));
        zlib.extend_from_slice(&length.to_le_bytes());
        zlib.extend_from_slice(&(!length).to_le_bytes());
        zlib.extend_from_slice(piece);
        if pieces.peek().is_none() {
            break;
        }
    }
    let (a, b) = content.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    zlib.extend_from_slice(&(b << 16 | a).to_be_bytes());
    zlib
}

/// The entry type of an object kind.
pub fn type_number(kind: Kind) -> u8 {
    match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    }
}

/// An entry header: type and size.
pub fn entry_head(kind: u8, size: u64) -> Vec<u8> {
    let mut rest = size >> 4;
    let mut head = vec![(kind & 7) << 4 | low_bits(size, 4) | more(rest)];
    while rest > 0 {
        let bits = low_bits(rest, 7);
        rest >>= 7;
        head.push(bits | more(rest));
    }
    head
}

/// The offset of an ofs-delta.
pub fn distance(distance: u64) -> Vec<u8> {
    let mut bytes = vec![low_bits(distance, 7)];
    let mut rest = distance >> 7;
    while rest > 0 {
        rest -= 1;
        bytes.insert(0, low_bits(rest, 7) | 0x80);
        rest >>= 7;
    }
    bytes
}

/// A pack of `entries` whose header declares `count` objects.
pub fn pack(entries: &[Vec<u8>], count: u32) -> Vec<u8> {
    let mut pack = [b"PACK\0\0\0\x02".to_vec(), count.to_be_bytes().to_vec(), entries.concat()].concat();
    let sum = sha1(&[&pack]);
    pack.extend_from_slice(sum.as_slice());
    pack
}

/// A delta: the common prefix and suffix are copied, the rest is inserted.
pub fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
    let shorter = base.len().min(target.len());
    let begin = (0..shorter).take_while(|at| base[*at] == target[*at]).count();
    let same_from_end = |at: &usize| base[base.len() - 1 - at] == target[target.len() - 1 - at];
    let end = (0..shorter - begin).take_while(same_from_end).count();
    let mut delta = [delta_size(base.len()), delta_size(target.len())].concat();
    copy(&mut delta, 0, begin);
    for piece in target[begin..target.len() - end].chunks(127) {
        delta.push(low_bits(piece.len() as u64, 7));
        delta.extend_from_slice(piece);
    }
    copy(&mut delta, base.len() - end, end);
    delta
}

fn copy(delta: &mut Vec<u8>, offset: usize, length: usize) {
    let mut done = 0;
    while done < length {
        let some = (length - done).min(0xffff);
        let numbers = [offset + done, (offset + done) >> 8, (offset + done) >> 16, some, some >> 8];
        delta.push(0x80 | 0x01 | 0x02 | 0x04 | 0x10 | 0x20);
        delta.extend(numbers.map(|number| low_bits(number as u64, 8)));
        done += some;
    }
}

fn delta_size(size: usize) -> Vec<u8> {
    let mut rest = size as u64;
    let mut bytes = Vec::new();
    loop {
        let bits = low_bits(rest, 7);
        rest >>= 7;
        bytes.push(bits | more(rest));
        if rest == 0 {
            return bytes;
        }
    }
}

/// Applies a delta, independently of the crate (gitformat-pack).
pub fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = delta.iter().copied();
    let mut size = || -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    };
    let (from, to) = (size()?, size()?);
    let mut result = Vec::new();
    while let Some(instruction) = bytes.next() {
        if instruction & 0x80 == 0 {
            (instruction > 0).then_some(())?;
            for _ in 0..instruction {
                result.push(bytes.next()?);
            }
            continue;
        }
        let mut numbers = [0usize; 7];
        for (bit, number) in numbers.iter_mut().enumerate() {
            if instruction >> bit & 1 == 1 {
                *number = bytes.next()?.into();
            }
        }
        let [o0, o1, o2, o3, l0, l1, l2] = numbers;
        let offset = o0 | o1 << 8 | o2 << 16 | o3 << 24;
        let length = match l0 | l1 << 8 | l2 << 16 {
            0 => 0x10000,
            length => length,
        };
        result.extend_from_slice(base.get(offset..offset + length)?);
    }
    (from == base.len() as u64 && to == result.len() as u64).then_some(result)
}

fn low_bits(number: u64, bits: u32) -> u8 {
    (number & ((1 << bits) - 1)) as u8
}

fn more(rest: u64) -> u8 {
    if rest > 0 { 0x80 } else { 0 }
}
