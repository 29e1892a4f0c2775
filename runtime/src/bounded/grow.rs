//! Functions that make much out of little, bounded before they make it.

use rhai::{Array, Blob, Dynamic, Engine, ImmutableString, Map};

use super::{ARRAY_MAX, Outcome, STRING_MAX, too_large};

/// The most values that one call makes. Each takes 16 bytes, a string among them about 70; the run's memory is only
/// looked at afterwards.
const VALUES_AT_ONCE_MAX: usize = 500_000;

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("pad", pad_array)
        .register_fn("pad", pad_blob)
        .register_fn("pad", |text: &mut ImmutableString, length: i64, padding: char| {
            pad_string(text, length, padding.encode_utf8(&mut [0; 4]))
        })
        .register_fn("pad", |text: &mut ImmutableString, length: i64, padding: &str| {
            pad_string(text, length, padding)
        })
        .register_fn("replace", replace)
        .register_fn("replace", |text: &mut ImmutableString, find: &str, with: char| {
            replace(text, find, with.encode_utf8(&mut [0; 4]))
        })
        .register_fn("replace", |text: &mut ImmutableString, find: char, with: &str| {
            replace(text, find.encode_utf8(&mut [0; 4]), with)
        })
        .register_fn("replace", |text: &mut ImmutableString, find: char, with: char| {
            replace(text, find.encode_utf8(&mut [0; 4]), with.encode_utf8(&mut [0; 4]))
        })
        .register_fn("split", |text: &str| array_of(text.split_whitespace()))
        .register_fn("split", |text: &str, at: &str| array_of(text.split(at)))
        .register_fn("split", |text: &str, at: char| array_of(text.split(at)))
        .register_fn("split", |text: &str, at: &str, pieces: i64| array_of(text.splitn(count(pieces), at)))
        .register_fn("split", |text: &str, at: char, pieces: i64| array_of(text.splitn(count(pieces), at)))
        .register_fn("split_rev", |text: &str, at: &str| array_of(text.rsplit(at)))
        .register_fn("split_rev", |text: &str, at: char| array_of(text.rsplit(at)))
        .register_fn("split_rev", |text: &str, at: &str, pieces: i64| {
            array_of(text.rsplitn(count(pieces), at))
        })
        .register_fn("split_rev", |text: &str, at: char, pieces: i64| {
            array_of(text.rsplitn(count(pieces), at))
        })
        .register_fn("to_chars", |text: &str| array_of(text.chars()))
        .register_fn("to_array", |blob: &mut Blob| array_of(blob.iter().map(|byte| i64::from(*byte))));
}

/// Everything that `items` gives, unless it is too much.
fn array_of(items: impl Iterator<Item = impl Into<Dynamic>>) -> Outcome<Array> {
    let mut array = Array::new();
    for item in items {
        if array.len() == VALUES_AT_ONCE_MAX {
            return too_large("Size of array");
        }
        array.push(item.into());
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
    if weight(&item).saturating_mul(missing) > VALUES_AT_ONCE_MAX {
        return too_large("Size of array");
    }
    array.resize(array.len() + missing, item);
    Ok(())
}

/// How many values a copy of `value` makes; 16 bytes of a blob count as one.
fn weight(value: &Dynamic) -> usize {
    if let Some(array) = value.read_lock::<Array>() {
        array.iter().map(weight).fold(1, usize::saturating_add)
    } else if let Some(map) = value.read_lock::<Map>() {
        // An entry with its key and its place in the tree is worth several values.
        map.values().map(|value| weight(value) + 4).fold(1, usize::saturating_add)
    } else {
        value.read_lock::<Blob>().map_or(1, |blob| 1 + blob.len() / 16)
    }
}

fn pad_blob(blob: &mut Blob, length: i64, byte: i64) -> Outcome<()> {
    let Some(missing) = missing(blob.len(), length, ARRAY_MAX) else { return too_large("Size of blob") };
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
    if pieces.saturating_mul(padding.len()).saturating_add(text.len()) > STRING_MAX {
        return too_large("Length of string");
    }
    if pieces > 0 {
        text.make_mut().push_str(&padding.repeat(pieces));
    }
    Ok(())
}

fn replace(text: &mut ImmutableString, find: &str, with: &str) -> Outcome<()> {
    let found = if text.is_empty() { 0 } else { text.matches(find).count() };
    let kept = text.len() - found * find.len();
    if found.saturating_mul(with.len()).saturating_add(kept) > STRING_MAX {
        return too_large("Length of string");
    }
    if found > 0 {
        *text = text.replace(find, with).into();
    }
    Ok(())
}
