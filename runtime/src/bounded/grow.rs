//! Functions that make much out of little, bounded before they make it.

use rhai::{Array, Blob, Dynamic, ImmutableString, Map, Module};

use super::{ARRAY_MAX, Outcome, STRING_MAX, changes, reads, room_for, too_large, worked};
use crate::json::DEPTH_MAX;

/// The most values that one call makes out of one.
const VALUES_AT_ONCE_MAX: usize = 500_000;

/// What a value takes, in bytes.
const VALUE: usize = size_of::<Dynamic>();

pub(super) fn register(module: &mut Module) {
    changes(module, "pad", pad_array);
    changes(module, "pad", pad_blob);
    changes(module, "pad", |text: &mut ImmutableString, length: i64, padding: char| {
        pad_string(text, length, padding.encode_utf8(&mut [0; 4]))
    });
    changes(module, "pad", |text: &mut ImmutableString, length: i64, padding: &str| {
        pad_string(text, length, padding)
    });
    reads(module, "blob", |length: i64| blob(length, 0));
    reads(module, "blob", blob);
    changes(module, "replace", replace);
    changes(module, "replace", |text: &mut ImmutableString, find: &str, with: char| {
        replace(text, find, with.encode_utf8(&mut [0; 4]))
    });
    changes(module, "replace", |text: &mut ImmutableString, find: char, with: &str| {
        replace(text, find.encode_utf8(&mut [0; 4]), with)
    });
    changes(module, "replace", |text: &mut ImmutableString, find: char, with: char| {
        replace(text, find.encode_utf8(&mut [0; 4]), with.encode_utf8(&mut [0; 4]))
    });
    reads(module, "split", |text: &str| array_of(text.split_whitespace()));
    reads(module, "split", |text: &str, at: &str| array_of(text.split(at)));
    reads(module, "split", |text: &str, at: char| array_of(text.split(at)));
    reads(module, "split", |text: &str, at: &str, pieces: i64| array_of(text.splitn(count(pieces), at)));
    reads(module, "split", |text: &str, at: char, pieces: i64| array_of(text.splitn(count(pieces), at)));
    reads(module, "split_rev", |text: &str, at: &str| array_of(text.rsplit(at)));
    reads(module, "split_rev", |text: &str, at: char| array_of(text.rsplit(at)));
    reads(module, "split_rev", |text: &str, at: &str, pieces: i64| array_of(text.rsplitn(count(pieces), at)));
    reads(module, "split_rev", |text: &str, at: char, pieces: i64| array_of(text.rsplitn(count(pieces), at)));
    reads(module, "to_chars", |text: &str| array_of(text.chars()));
    reads(module, "to_array", |blob: &mut Blob| array_of(blob.iter().map(|byte| i64::from(*byte))));
}

/// Everything that `items` gives, unless it is too much.
fn array_of(items: impl Iterator<Item = impl Into<Dynamic>>) -> Outcome<Array> {
    let mut array = Array::new();
    for item in items {
        if array.len() == VALUES_AT_ONCE_MAX {
            return too_large("Size of array");
        }
        array.push(item.into());
        worked(1)?;
    }
    Ok(array)
}

/// A number of pieces as scripts give it: at least one.
fn count(pieces: i64) -> usize {
    usize::try_from(pieces).unwrap_or(1).max(1)
}

/// How many items are missing until `length`; `None` when it is more than a collection may hold.
fn missing(held: usize, length: i64, length_max: usize) -> Option<usize> {
    let Ok(length) = usize::try_from(length) else { return Some(0) };
    (length <= length_max).then(|| length.saturating_sub(held))
}

fn pad_array(array: &mut Array, length: i64, item: Dynamic) -> Outcome<()> {
    let Some(missing) = missing(array.len(), length, ARRAY_MAX) else { return too_large("Size of array") };
    let item = super::kept::alone(item)?;
    let Some(copies) = VALUES_AT_ONCE_MAX.checked_div(missing) else { return Ok(()) };
    let mut left = copies;
    if !takes(&item, &mut left, 0) {
        return too_large("Size of array");
    }
    room_for((copies - left).saturating_mul(missing).saturating_mul(VALUE))?;
    array.reserve_exact(missing);
    array.resize(array.len() + missing, item);
    Ok(())
}

/// Takes as many from `left` as a copy of `value` makes values; 16 bytes of a blob count as one. `false` when too few are
/// left, or the value is nested too deeply.
fn takes(value: &Dynamic, left: &mut usize, depth: usize) -> bool {
    // An entry of a map with its key and its place in the tree is worth several values.
    let (own, inside) = match (value.read_lock::<Array>(), value.read_lock::<Map>()) {
        (Some(array), _) => (1, array.iter().all(|item| takes(item, left, depth + 1))),
        (_, Some(map)) => (1 + 4 * map.len(), map.values().all(|item| takes(item, left, depth + 1))),
        _ => (value.read_lock::<Blob>().map_or(1, |blob| 1 + blob.len() / VALUE), true),
    };
    let enough = inside && depth <= DEPTH_MAX && own <= *left;
    *left = left.saturating_sub(own);
    enough
}

fn blob(length: i64, byte: i64) -> Outcome<Blob> {
    let mut blob = Blob::new();
    pad_blob(&mut blob, length, byte)?;
    Ok(blob)
}

fn pad_blob(blob: &mut Blob, length: i64, byte: i64) -> Outcome<()> {
    let Some(missing) = missing(blob.len(), length, ARRAY_MAX) else { return too_large("Size of blob") };
    room_for(missing)?;
    blob.reserve_exact(missing);
    blob.resize(blob.len() + missing, (byte & 0xff) as u8);
    Ok(())
}

fn pad_string(text: &mut ImmutableString, length: i64, padding: &str) -> Outcome<()> {
    let Some(missing) = missing(text.chars().count(), length, STRING_MAX) else {
        return too_large("Length of string");
    };
    // A padding of several characters is never cut, so the last piece may go past the length.
    let pieces = match padding.chars().count() {
        0 => 0,
        width => missing.div_ceil(width),
    };
    let length = pieces.saturating_mul(padding.len()).saturating_add(text.len());
    if length > STRING_MAX {
        return too_large("Length of string");
    }
    if pieces > 0 {
        room_for(length)?;
        let mut padded = String::with_capacity(length);
        padded.push_str(text);
        (0..pieces).for_each(|_| padded.push_str(padding));
        *text = padded.into();
    }
    Ok(())
}

fn replace(text: &mut ImmutableString, find: &str, with: &str) -> Outcome<()> {
    let found = if text.is_empty() { 0 } else { text.matches(find).count() };
    if found == 0 {
        return Ok(());
    }
    let kept = text.len() - found * find.len();
    let length = found.saturating_mul(with.len()).saturating_add(kept);
    if length > STRING_MAX {
        return too_large("Length of string");
    }
    room_for(length)?;
    let mut replaced = String::with_capacity(length);
    let mut done = 0;
    for (at, found) in text.match_indices(find) {
        replaced.push_str(&text[done..at]);
        replaced.push_str(with);
        done = at + found.len();
        worked(1)?;
    }
    replaced.push_str(&text[done..]);
    *text = replaced.into();
    Ok(())
}
