//! Functions that make text, or walk along it: they hold no list of its characters, and bound what they make.

use std::fmt::Write as _;
use std::iter::FusedIterator;
use std::ops::{Range, RangeInclusive};

use rhai::{
    Blob, Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Module, NativeCallContext, Position,
};

use super::nested::printed;
use super::{Outcome, STRING_MAX, changes, fails, reads, room_for, too_large, worked};

/// The longest piece of a text that an error quotes, in bytes.
const QUOTED_MAX: usize = 1000;

pub(super) fn register(module: &mut Module) {
    // What `for c in text` walks along.
    module.set_iter(std::any::TypeId::of::<ImmutableString>(), |text| {
        let text = text.cast::<ImmutableString>();
        Box::new(Characters::new(text, 0, i64::MAX).map(Dynamic::from))
    });
    module.set_iterator::<Characters>();
    FuncRegistration::new_getter("chars")
        .set_into_module(module, |text: &mut ImmutableString| Characters::new(text.clone(), 0, i64::MAX));
    reads(module, "chars", |text: ImmutableString| Characters::new(text, 0, i64::MAX));
    reads(module, "chars", |text: ImmutableString, start: i64| Characters::new(text, start, i64::MAX));
    reads(module, "chars", Characters::new);
    reads(module, "chars", |text: ImmutableString, range: Range<i64>| {
        let (start, length) = exclusive(&range);
        Characters::new(text, start, length)
    });
    reads(module, "chars", |text: ImmutableString, range: RangeInclusive<i64>| {
        let (start, length) = inclusive_or_empty(&range);
        Characters::new(text, start, length)
    });

    reads(module, "sub_string", |text: ImmutableString, start: i64| part(&text, start, i64::MAX));
    reads(module, "sub_string", |text: ImmutableString, start: i64, length: i64| part(&text, start, length));
    reads(module, "sub_string", |text: ImmutableString, range: Range<i64>| {
        let (start, length) = exclusive(&range);
        part(&text, start, length)
    });
    reads(module, "sub_string", |text: ImmutableString, range: RangeInclusive<i64>| {
        let (start, length) = inclusive(&range);
        part(&text, start, length)
    });
    changes(module, "crop", |text: &mut ImmutableString, start: i64| crop(text, start, i64::MAX));
    changes(module, "crop", crop);
    changes(module, "crop", |text: &mut ImmutableString, range: Range<i64>| {
        let (start, length) = exclusive(&range);
        crop(text, start, length)
    });
    changes(module, "crop", |text: &mut ImmutableString, range: RangeInclusive<i64>| {
        let (start, length) = inclusive(&range);
        crop(text, start, length)
    });
    changes(module, "set", set);
    changes(module, "pop", pop);
    reads(module, "index_of", |text: &str, find: &str, start: i64| {
        index_of(text, start, |rest| rest.find(find))
    });
    reads(module, "index_of", |text: &str, find: char, start: i64| {
        index_of(text, start, |rest| rest.find(find))
    });

    reads(module, "to_upper", |text: &str| upper(text));
    reads(module, "to_lower", |text: &str| lower(text));
    changes(module, "make_upper", |text: &mut ImmutableString| -> Outcome<()> {
        *text = upper(text)?;
        Ok(())
    });
    changes(module, "make_lower", |text: &mut ImmutableString| -> Outcome<()> {
        *text = lower(text)?;
        Ok(())
    });
    reads(module, "to_debug", |text: &str| printed(|out| write!(out, "{text:?}")));

    reads(module, "as_string", |blob: &mut Blob| joined("", blob));
    reads(module, "+", |text: &str, blob: Blob| joined(text, &blob));
    reads(module, "+", |blob: &mut Blob, text: &str| -> Outcome<ImmutableString> {
        let mut decoded = joined("", blob)?;
        if decoded.len() + text.len() > STRING_MAX {
            return too_large("Length of string");
        }
        decoded += text;
        Ok(decoded)
    });
    // Rhai's own copy the whole text each time.
    for name in ["+=", "append"] {
        changes(module, name, |text: &mut ImmutableString, blob: Blob| append(text, joined("", &blob)?));
        changes(
            module,
            name,
            |context: NativeCallContext<'_>, text: &mut ImmutableString, mut value: Dynamic| {
                append(text, shown(&context, &mut value)?)
            },
        );
    }

    reads(module, "parse_int", |text: &str| integer(text, 10));
    reads(module, "parse_int", integer);
    reads(module, "parse_float", |text: &str| {
        let parsed = text.trim().parse::<f64>();
        parsed.or_else(|why| no_number("floating-point", text, &why))
    });
}

/// The characters of a text, one after the other.
#[derive(Clone)]
struct Characters {
    text: ImmutableString,
    rest: Range<usize>,
}

impl Characters {
    fn new(text: ImmutableString, start: i64, length: i64) -> Self {
        let rest = bytes_of(&text, start, length);
        Self { text, rest }
    }
}

impl Iterator for Characters {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let next = self.text.get(self.rest.clone())?.chars().next()?;
        self.rest.start += next.len_utf8();
        Some(next)
    }
}

impl FusedIterator for Characters {}

/// Where the `length` characters from `start` on are, in bytes. A negative start counts from the end, and no further than
/// the beginning.
fn bytes_of(text: &str, start: i64, length: i64) -> Range<usize> {
    let distance = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let skipped = if start < 0 { text.chars().count().saturating_sub(distance) } else { distance };
    let from = byte_of(text, skipped);
    let length = byte_of(&text[from..], usize::try_from(length).unwrap_or(0));
    from..from + length
}

/// Where the character at `index` begins, in bytes; the end of the text when there is none.
fn byte_of(text: &str, index: usize) -> usize {
    if index >= text.len() {
        return text.len();
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

/// Start and length of a range; it begins at 0 at the earliest.
fn exclusive(range: &Range<i64>) -> (i64, i64) {
    let start = range.start.max(0);
    (start, range.end.max(start) - start)
}

/// Start and length of a range; it begins at 0 at the earliest, and has no end before its start.
fn inclusive(range: &RangeInclusive<i64>) -> (i64, i64) {
    let start = (*range.start()).max(0);
    (start, ((*range.end()).max(start) - start).saturating_add(1))
}

/// The same, where a range that ends before it starts is an empty one.
fn inclusive_or_empty(range: &RangeInclusive<i64>) -> (i64, i64) {
    let start = (*range.start()).max(0);
    if *range.end() < start { (start, 0) } else { inclusive(range) }
}

fn part(text: &ImmutableString, start: i64, length: i64) -> Outcome<ImmutableString> {
    let bytes = bytes_of(text, start, length);
    room_for(bytes.len())?;
    Ok(text[bytes].into())
}

fn crop(text: &mut ImmutableString, start: i64, length: i64) -> Outcome<()> {
    *text = part(text, start, length)?;
    Ok(())
}

fn set(text: &mut ImmutableString, index: i64, character: char) -> Outcome<()> {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 && text.chars().count() < distance {
        return Ok(());
    }
    let old = bytes_of(text, index, 1);
    if old.is_empty() {
        return Ok(());
    }
    room_for(text.len())?;
    let mut changed = String::with_capacity(text.len() + character.len_utf8());
    changed.push_str(&text[..old.start]);
    changed.push(character);
    changed.push_str(&text[old.end..]);
    *text = changed.into();
    Ok(())
}

/// Takes characters off the end.
fn pop(text: &mut ImmutableString, length: i64) -> Outcome<ImmutableString> {
    if length <= 0 {
        return Ok(ImmutableString::new());
    }
    let taken = bytes_of(text, length.saturating_neg(), i64::MAX);
    let popped = part(text, length.saturating_neg(), i64::MAX)?;
    *text = text[..taken.start].into();
    Ok(popped)
}

/// Where something is first found from the character `start` on; -1 when it is not.
fn index_of(text: &str, start: i64, find: impl FnOnce(&str) -> Option<usize>) -> i64 {
    let from = bytes_of(text, start, 0).start;
    if from == text.len() {
        return -1;
    }
    let found = find(&text[from..]).map(|at| text[..from + at].chars().count());
    found.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1)
}

fn upper(text: &str) -> Outcome<ImmutableString> {
    if text.is_ascii() {
        room_for(text.len())?;
        return Ok(text.to_ascii_uppercase().into());
    }
    each(text, |character, out| out.extend(character.to_uppercase()))
}

fn lower(text: &str) -> Outcome<ImmutableString> {
    if text.is_ascii() {
        room_for(text.len())?;
        return Ok(text.to_ascii_lowercase().into());
    }
    // The one letter whose small form depends on what stands around it.
    if text.contains('\u{3a3}') {
        room_for(text.len())?;
        return Ok(text.to_lowercase().into());
    }
    each(text, |character, out| out.extend(character.to_lowercase()))
}

/// Makes a text out of each character of another.
fn each(text: &str, write: impl Fn(char, &mut String)) -> Outcome<ImmutableString> {
    room_for(text.len())?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        write(character, &mut out);
        worked(1)?;
        if out.len() > STRING_MAX {
            return too_large("Length of string");
        }
    }
    Ok(out.into())
}

/// Text and bytes that are taken for UTF-8, with U+FFFD for what is none.
fn joined(text: &str, blob: &Blob) -> Outcome<ImmutableString> {
    room_for(text.len() + blob.len())?;
    let mut out = String::with_capacity(text.len() + blob.len());
    out.push_str(text);
    for chunk in blob.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        worked(1)?;
        if out.len() > STRING_MAX {
            return too_large("Length of string");
        }
    }
    Ok(out.into())
}

/// Puts `more` at the end of a text, in its place unless something else holds the text too.
fn append(text: &mut ImmutableString, more: ImmutableString) -> Outcome<()> {
    let length = text.len() + more.len();
    if length > STRING_MAX {
        return too_large("Length of string");
    }
    // The place of a text doubles when it is full; what is held by others is copied.
    let place = text.get_mut().map_or(0, |own| own.capacity());
    if length > place {
        room_for(length)?;
    }
    *text += more;
    Ok(())
}

/// A value as text, as interpolation writes it.
fn shown(context: &NativeCallContext<'_>, value: &mut Dynamic) -> Outcome<ImmutableString> {
    let text = context.call_native_fn_raw("to_string", true, &mut [value])?;
    text.into_immutable_string().or_else(|kind| fails(format!("`to_string` gave {kind}, which is no string")))
}

fn integer(text: &str, radix: i64) -> Outcome<i64> {
    let Some(radix) = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix)) else {
        return cannot_compute(format!("Invalid radix: '{radix}'"));
    };
    i64::from_str_radix(text.trim(), radix).or_else(|why| no_number("integer", text, &why))
}

fn no_number<T>(kind: &str, text: &str, why: &dyn std::error::Error) -> Outcome<T> {
    let quoted = &text[..text.floor_char_boundary(QUOTED_MAX)];
    cannot_compute(format!("Error parsing {kind} number '{quoted}': {why}"))
}

fn cannot_compute<T>(why: String) -> Outcome<T> {
    Err(EvalAltResult::ErrorArithmetic(why, Position::NONE).into())
}
