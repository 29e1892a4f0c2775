//! Functions that build or traverse text: they do not collect its characters, and limit their results.

use std::fmt::Write as _;
use std::iter::FusedIterator;
use std::ops::{Range, RangeInclusive};

use rhai::{
    Blob, Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Module, NativeCallContext, Position,
};

use super::nested::print;
use super::{Outcome, STRING_MAX, charge, fail, register_mutating, register_pure, reserve, too_large};

/// The maximum length of a text quoted in an error, in bytes.
const QUOTED_MAX: usize = 1000;

pub(super) fn register(module: &mut Module) {
    // The iterator of `for c in text`.
    module.set_iter(std::any::TypeId::of::<ImmutableString>(), |text| {
        let text = text.cast::<ImmutableString>();
        Box::new(Characters::new(text, 0, i64::MAX).map(Dynamic::from))
    });
    module.set_iterator::<Characters>();
    FuncRegistration::new_getter("chars")
        .set_into_module(module, |text: &mut ImmutableString| Characters::new(text.clone(), 0, i64::MAX));
    register_pure(module, "chars", |text: ImmutableString| Characters::new(text, 0, i64::MAX));
    register_pure(module, "chars", |text: ImmutableString, start: i64| {
        Characters::new(text, start, i64::MAX)
    });
    register_pure(module, "chars", Characters::new);
    register_pure(module, "chars", |text: ImmutableString, range: Range<i64>| {
        let (start, length) = exclusive(&range);
        Characters::new(text, start, length)
    });
    register_pure(module, "chars", |text: ImmutableString, range: RangeInclusive<i64>| {
        let (start, length) = inclusive_or_empty(&range);
        Characters::new(text, start, length)
    });

    register_pure(module, "sub_string", |text: ImmutableString, start: i64| part(&text, start, i64::MAX));
    register_pure(module, "sub_string", |text: ImmutableString, start: i64, length: i64| {
        part(&text, start, length)
    });
    register_pure(module, "sub_string", |text: ImmutableString, range: Range<i64>| {
        let (start, length) = exclusive(&range);
        part(&text, start, length)
    });
    register_pure(module, "sub_string", |text: ImmutableString, range: RangeInclusive<i64>| {
        let (start, length) = inclusive(&range);
        part(&text, start, length)
    });
    register_mutating(module, "crop", |text: &mut ImmutableString, start: i64| crop(text, start, i64::MAX));
    register_mutating(module, "crop", crop);
    register_mutating(module, "crop", |text: &mut ImmutableString, range: Range<i64>| {
        let (start, length) = exclusive(&range);
        crop(text, start, length)
    });
    register_mutating(module, "crop", |text: &mut ImmutableString, range: RangeInclusive<i64>| {
        let (start, length) = inclusive(&range);
        crop(text, start, length)
    });
    register_mutating(module, "set", set);
    register_mutating(module, "pop", pop);
    register_pure(module, "index_of", |text: &str, find: &str, start: i64| {
        index_of(text, start, |rest| rest.find(find))
    });
    register_pure(module, "index_of", |text: &str, find: char, start: i64| {
        index_of(text, start, |rest| rest.find(find))
    });

    register_pure(module, "to_upper", |text: &str| upper(text));
    register_pure(module, "to_lower", |text: &str| lower(text));
    register_mutating(module, "make_upper", |text: &mut ImmutableString| -> Outcome<()> {
        *text = upper(text)?;
        Ok(())
    });
    register_mutating(module, "make_lower", |text: &mut ImmutableString| -> Outcome<()> {
        *text = lower(text)?;
        Ok(())
    });
    register_pure(module, "to_debug", |text: &str| print(|out| write!(out, "{text:?}")));

    register_pure(module, "as_string", |blob: &mut Blob| joined("", blob));
    register_pure(module, "+", |text: &str, blob: Blob| joined(text, &blob));
    register_pure(module, "+", |blob: &mut Blob, text: &str| -> Outcome<ImmutableString> {
        let mut decoded = joined("", blob)?;
        if decoded.len() + text.len() > STRING_MAX {
            return too_large("Length of string");
        }
        decoded += text;
        Ok(decoded)
    });
    // Rhai's own functions copy the whole text each time.
    for name in ["+=", "append"] {
        register_mutating(module, name, |text: &mut ImmutableString, blob: Blob| {
            append(text, joined("", &blob)?)
        });
        register_mutating(
            module,
            name,
            |context: NativeCallContext<'_>, text: &mut ImmutableString, mut value: Dynamic| {
                append(text, text_of(&context, &mut value)?)
            },
        );
    }

    register_pure(module, "parse_int", |text: &str| integer(text, 10));
    register_pure(module, "parse_int", integer);
    register_pure(module, "parse_float", |text: &str| {
        let parsed = text.trim().parse::<f64>();
        parsed.or_else(|why| invalid_number("floating-point", text, &why))
    });
}

/// The characters of a text.
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

/// The byte range of `length` characters from `start`. A negative start counts from the end, clamped at the
/// beginning.
fn bytes_of(text: &str, start: i64, length: i64) -> Range<usize> {
    let distance = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let skipped = if start < 0 { text.chars().count().saturating_sub(distance) } else { distance };
    let from = byte_of(text, skipped);
    let length = byte_of(&text[from..], usize::try_from(length).unwrap_or(0));
    from..from + length
}

/// The byte offset of the character at `index`; the length of the text if there is none.
fn byte_of(text: &str, index: usize) -> usize {
    if index >= text.len() {
        return text.len();
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

/// Start and length of a range, which begins at 0 at the earliest.
fn exclusive(range: &Range<i64>) -> (i64, i64) {
    let start = range.start.max(0);
    (start, range.end.max(start) - start)
}

/// Start and length of a range, which begins at 0 at the earliest and does not end before its start.
fn inclusive(range: &RangeInclusive<i64>) -> (i64, i64) {
    let start = (*range.start()).max(0);
    (start, ((*range.end()).max(start) - start).saturating_add(1))
}

/// The same, but a range that ends before its start is empty.
fn inclusive_or_empty(range: &RangeInclusive<i64>) -> (i64, i64) {
    let start = (*range.start()).max(0);
    if *range.end() < start { (start, 0) } else { inclusive(range) }
}

fn part(text: &ImmutableString, start: i64, length: i64) -> Outcome<ImmutableString> {
    let bytes = bytes_of(text, start, length);
    reserve(bytes.len())?;
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
    reserve(text.len())?;
    let mut changed = String::with_capacity(text.len() + character.len_utf8());
    changed.push_str(&text[..old.start]);
    changed.push(character);
    changed.push_str(&text[old.end..]);
    *text = changed.into();
    Ok(())
}

/// Removes characters from the end.
fn pop(text: &mut ImmutableString, length: i64) -> Outcome<ImmutableString> {
    if length <= 0 {
        return Ok(ImmutableString::new());
    }
    let taken = bytes_of(text, length.saturating_neg(), i64::MAX);
    let popped = part(text, length.saturating_neg(), i64::MAX)?;
    *text = text[..taken.start].into();
    Ok(popped)
}

/// The index of the first match from the character `start`; -1 if there is none.
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
        reserve(text.len())?;
        return Ok(text.to_ascii_uppercase().into());
    }
    each(text, |character, out| out.extend(character.to_uppercase()))
}

fn lower(text: &str) -> Outcome<ImmutableString> {
    if text.is_ascii() {
        reserve(text.len())?;
        return Ok(text.to_ascii_lowercase().into());
    }
    // Sigma is the only letter whose lower case depends on its neighbours.
    if text.contains('\u{3a3}') {
        reserve(text.len())?;
        return Ok(text.to_lowercase().into());
    }
    each(text, |character, out| out.extend(character.to_lowercase()))
}

/// Builds a text from each character of another.
fn each(text: &str, write: impl Fn(char, &mut String)) -> Outcome<ImmutableString> {
    reserve(text.len())?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        write(character, &mut out);
        charge(1)?;
        if out.len() > STRING_MAX {
            return too_large("Length of string");
        }
    }
    Ok(out.into())
}

/// Appends bytes decoded as UTF-8, with U+FFFD for invalid ones.
fn joined(text: &str, blob: &Blob) -> Outcome<ImmutableString> {
    reserve(text.len() + blob.len())?;
    let mut out = String::with_capacity(text.len() + blob.len());
    out.push_str(text);
    for chunk in blob.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        charge(1)?;
        if out.len() > STRING_MAX {
            return too_large("Length of string");
        }
    }
    Ok(out.into())
}

/// Appends `more` to a text, in capacity unless the text is shared.
fn append(text: &mut ImmutableString, more: ImmutableString) -> Outcome<()> {
    let length = text.len() + more.len();
    if length > STRING_MAX {
        return too_large("Length of string");
    }
    // The capacity doubles when it is full; a shared text is copied.
    let capacity = text.get_mut().map_or(0, |own| own.capacity());
    if length > capacity {
        reserve(length)?;
    }
    *text += more;
    Ok(())
}

/// The text form of a value, as in interpolation.
fn text_of(context: &NativeCallContext<'_>, value: &mut Dynamic) -> Outcome<ImmutableString> {
    let text = context.call_native_fn_raw("to_string", true, &mut [value])?;
    text.into_immutable_string()
        .or_else(|kind| fail(format!("`to_string` returned {kind} instead of a string")))
}

fn integer(text: &str, radix: i64) -> Outcome<i64> {
    let Some(radix) = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix)) else {
        return arithmetic_error(format!("Invalid radix: '{radix}'"));
    };
    i64::from_str_radix(text.trim(), radix).or_else(|why| invalid_number("integer", text, &why))
}

fn invalid_number<T>(kind: &str, text: &str, why: &dyn std::error::Error) -> Outcome<T> {
    let quoted = &text[..text.floor_char_boundary(QUOTED_MAX)];
    arithmetic_error(format!("Error parsing {kind} number '{quoted}': {why}"))
}

fn arithmetic_error<T>(why: String) -> Outcome<T> {
    Err(EvalAltResult::ErrorArithmetic(why, Position::NONE).into())
}
