//! Functions that create large results from small arguments; sizes are checked in advance.

use rhai::{Array, Blob, Dynamic, ImmutableString, Map, Module};

use super::{ARRAY_MAX, Outcome, STRING_MAX, charge, register_mutating, register_pure, reserve, too_large};
use crate::json::DEPTH_MAX;

/// The maximum number of values that one call creates.
const VALUES_AT_ONCE_MAX: usize = 500_000;

/// The size of a value, in bytes.
const VALUE_SIZE: usize = size_of::<Dynamic>();

pub(super) fn register(module: &mut Module) {
    register_mutating(module, "pad", pad_array);
    register_mutating(module, "pad", pad_blob);
    register_mutating(module, "pad", |text: &mut ImmutableString, length: i64, padding: char| {
        pad_string(text, length, padding.encode_utf8(&mut [0; 4]))
    });
    register_mutating(module, "pad", |text: &mut ImmutableString, length: i64, padding: &str| {
        pad_string(text, length, padding)
    });
    register_pure(module, "blob", |length: i64| blob(length, 0));
    register_pure(module, "blob", blob);
    register_mutating(module, "replace", replace);
    register_mutating(module, "replace", |text: &mut ImmutableString, find: &str, with: char| {
        replace(text, find, with.encode_utf8(&mut [0; 4]))
    });
    register_mutating(module, "replace", |text: &mut ImmutableString, find: char, with: &str| {
        replace(text, find.encode_utf8(&mut [0; 4]), with)
    });
    register_mutating(module, "replace", |text: &mut ImmutableString, find: char, with: char| {
        replace(text, find.encode_utf8(&mut [0; 4]), with.encode_utf8(&mut [0; 4]))
    });
    register_pure(module, "split", |text: &str| collect_bounded(text.split_whitespace()));
    register_pure(module, "split", |text: &str, at: &str| collect_bounded(text.split(at)));
    register_pure(module, "split", |text: &str, at: char| collect_bounded(text.split(at)));
    register_pure(module, "split", |text: &str, at: &str, pieces: i64| {
        collect_bounded(text.splitn(count(pieces), at))
    });
    register_pure(module, "split", |text: &str, at: char, pieces: i64| {
        collect_bounded(text.splitn(count(pieces), at))
    });
    register_pure(module, "split_rev", |text: &str, at: &str| collect_bounded(text.rsplit(at)));
    register_pure(module, "split_rev", |text: &str, at: char| collect_bounded(text.rsplit(at)));
    register_pure(module, "split_rev", |text: &str, at: &str, pieces: i64| {
        collect_bounded(text.rsplitn(count(pieces), at))
    });
    register_pure(module, "split_rev", |text: &str, at: char, pieces: i64| {
        collect_bounded(text.rsplitn(count(pieces), at))
    });
    register_pure(module, "to_chars", |text: &str| collect_bounded(text.chars()));
    register_pure(module, "to_array", |blob: &mut Blob| {
        collect_bounded(blob.iter().map(|byte| i64::from(*byte)))
    });
}

/// Collects `items`, up to a limit.
fn collect_bounded(items: impl Iterator<Item = impl Into<Dynamic>>) -> Outcome<Array> {
    let mut array = Array::new();
    for item in items {
        if array.len() == VALUES_AT_ONCE_MAX {
            return too_large("Size of array");
        }
        array.push(item.into());
        charge(1)?;
    }
    Ok(array)
}

/// The number of pieces given by a script, at least one.
fn count(pieces: i64) -> usize {
    usize::try_from(pieces).unwrap_or(1).max(1)
}

/// The number of items missing to `length`; `None` if it exceeds the maximum of a collection.
fn missing(held: usize, length: i64, length_max: usize) -> Option<usize> {
    let Ok(length) = usize::try_from(length) else { return Some(0) };
    (length <= length_max).then(|| length.saturating_sub(held))
}

fn pad_array(array: &mut Array, length: i64, item: Dynamic) -> Outcome<()> {
    let Some(missing) = missing(array.len(), length, ARRAY_MAX) else { return too_large("Size of array") };
    let item = super::insertion::unshared(item)?;
    let Some(copies) = VALUES_AT_ONCE_MAX.checked_div(missing) else { return Ok(()) };
    let mut left = copies;
    if !charge_copy(&item, &mut left, 0) {
        return too_large("Size of array");
    }
    reserve((copies - left).saturating_mul(missing).saturating_mul(VALUE_SIZE))?;
    array.reserve_exact(missing);
    array.resize(array.len() + missing, item);
    Ok(())
}

/// Subtracts the number of values in a copy of `value` from `left`; 16 bytes of a blob count as one. `false` if
/// `left` is exceeded or the value is nested too deep.
fn charge_copy(value: &Dynamic, left: &mut usize, depth: usize) -> bool {
    // A map entry with its key and its tree node counts as several values.
    let (own, inside) = match (value.read_lock::<Array>(), value.read_lock::<Map>()) {
        (Some(array), _) => (1, array.iter().all(|item| charge_copy(item, left, depth + 1))),
        (_, Some(map)) => (1 + 4 * map.len(), map.values().all(|item| charge_copy(item, left, depth + 1))),
        _ => (value.read_lock::<Blob>().map_or(1, |blob| 1 + blob.len() / VALUE_SIZE), true),
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
    reserve(missing)?;
    blob.reserve_exact(missing);
    blob.resize(blob.len() + missing, (byte & 0xff) as u8);
    Ok(())
}

fn pad_string(text: &mut ImmutableString, length: i64, padding: &str) -> Outcome<()> {
    let Some(missing) = missing(text.chars().count(), length, STRING_MAX) else {
        return too_large("Length of string");
    };
    // A padding of several characters is not cut, so the last piece can exceed the length.
    let pieces = match padding.chars().count() {
        0 => 0,
        width => missing.div_ceil(width),
    };
    let length = pieces.saturating_mul(padding.len()).saturating_add(text.len());
    if length > STRING_MAX {
        return too_large("Length of string");
    }
    if pieces > 0 {
        reserve(length)?;
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
    reserve(length)?;
    let mut replaced = String::with_capacity(length);
    let mut done = 0;
    for (at, found) in text.match_indices(find) {
        replaced.push_str(&text[done..at]);
        replaced.push_str(with);
        done = at + found.len();
        charge(1)?;
    }
    replaced.push_str(&text[done..]);
    *text = replaced.into();
    Ok(())
}
