//! Functions of texts, arrays and numbers. They have no module, and are called as methods too.

use manifest_schema::sdk::SdkVersion;
use rhai::{Dynamic, ImmutableString};

use super::call::{Call, Outcome};
use super::output::{Items, Text};
use super::signature::{Function, Kinds, OptionKey, Parameter, SdkModule};
use crate::type_name::type_name;

/// The maximum number of digits after the decimal point; a float has 17 significant ones.
const DIGITS_MAX: i64 = 20;

const ARRAY: Parameter = Parameter::new("array", Kinds::ARRAY);
const TEXT: Parameter = Parameter::new("text", Kinds::TEXT);
/// A text or a character, which authors write in other quotes.
const WRITTEN: Kinds = Kinds::TEXT.or(Kinds::CHARACTER);

/// The functions without a module.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "",
    since: SdkVersion::V1_3,
    summary: "Functions of texts, arrays and numbers; they return new values.",
    functions: &[
        Function {
            name: "first",
            parameters: &[ARRAY],
            required: 1,
            returns: "value or ()",
            summary: "The first item of an array; `()` if it is empty.",
            errors: &[],
            run: |call| Ok(call.with_array(0, |items| copy_of(items.first()))),
        },
        Function {
            name: "format_number",
            parameters: &[
                Parameter::new("number", Kinds::NUMBER),
                Parameter::new("digits", Kinds::INTEGER),
                Parameter::options(&[
                    OptionKey::new("group", Kinds::TEXT, "Stands between groups of three digits."),
                    OptionKey::new("point", Kinds::TEXT, "The decimal point; by default `.`."),
                ]),
            ],
            required: 2,
            returns: "text",
            summary: "A number with that many digits after the decimal point.",
            errors: &["`digits` must be between 0 and …, not …", "`number` must be finite, not …"],
            run: format_number,
        },
        Function {
            name: "join",
            parameters: &[ARRAY, Parameter::new("separator", WRITTEN)],
            required: 2,
            returns: "text",
            summary: "The items of an array as one text, with a separator between them.",
            errors: &["item … is …, which has no text; use `map` first"],
            run: join,
        },
        Function {
            name: "last",
            parameters: &[ARRAY],
            required: 1,
            returns: "value or ()",
            summary: "The last item of an array; `()` if it is empty.",
            errors: &[],
            run: |call| Ok(call.with_array(0, |items| copy_of(items.last()))),
        },
        Function {
            name: "lines",
            parameters: &[TEXT],
            required: 1,
            returns: "array",
            summary: "The lines of a text, without their ends.",
            errors: &[],
            run: lines,
        },
        Function {
            name: "repeat",
            parameters: &[TEXT, Parameter::new("times", Kinds::INTEGER)],
            required: 2,
            returns: "text",
            summary: "A text repeated that many times.",
            errors: &["`times` must not be negative, but is …"],
            run: repeat,
        },
        Function {
            name: "replaced",
            parameters: &[TEXT, Parameter::new("from", WRITTEN), Parameter::new("to", WRITTEN)],
            required: 3,
            returns: "text",
            summary: "A text with another one in place of each occurrence of `from`.",
            errors: &["`from` must not be empty"],
            run: replaced,
        },
        Function {
            name: "sum",
            parameters: &[ARRAY],
            required: 1,
            returns: "number",
            summary: "The sum of an array of numbers: an integer, or a float if one of them is a float.",
            errors: &["item … is …, not a number", "the sum is too large for an integer"],
            run: sum,
        },
        Function {
            name: "trimmed",
            parameters: &[TEXT],
            required: 1,
            returns: "text",
            summary: "A text without white space at both ends.",
            errors: &[],
            run: trimmed,
        },
    ],
};

fn copy_of(item: Option<&Dynamic>) -> Dynamic {
    item.map(Dynamic::flatten_clone).unwrap_or_default()
}

/// A text or a character as text.
fn written(call: &Call<'_, '_>, index: usize) -> ImmutableString {
    match call.value(index).as_char() {
        Ok(character) => character.to_string().into(),
        Err(_) => call.text(index),
    }
}

fn join(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let separator = written(call, 1);
    call.with_array(0, |items| {
        let mut text = Text::new(call);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push_str(&separator)?;
            }
            match item.read_lock::<ImmutableString>() {
                Some(item) => text.push_str(&item)?,
                None if is_scalar(item) => text.push_str(&item.flatten_clone().to_string())?,
                None => {
                    let what = type_name(item);
                    return call.fail(format!("item {index} is {what}, which has no text; use `map` first"));
                }
            }
        }
        Ok(text.finish())
    })
}

/// Whether the text of a value is short.
fn is_scalar(value: &Dynamic) -> bool {
    Kinds::UNIT.or(Kinds::BOOL).or(Kinds::NUMBER).or(Kinds::CHARACTER).contains(Kinds::of(value))
}

fn sum(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.with_array(0, |items| {
        let mut integers = Some(0_i64);
        let mut floats: Option<f64> = None;
        for (index, item) in items.iter().enumerate() {
            call.charge(1)?;
            if let Ok(item) = item.as_int() {
                floats = floats.map(|sum| sum + item as f64);
                integers = integers.and_then(|sum| sum.checked_add(item));
            } else if let Ok(item) = item.as_float() {
                // The integers before the first float.
                let before = match (floats, integers) {
                    (Some(sum), _) => sum,
                    (None, Some(sum)) => sum as f64,
                    (None, None) => return too_large(call),
                };
                floats = Some(before + item);
            } else {
                return call.fail(format!("item {index} is {}, not a number", type_name(item)));
            }
        }
        match (floats, integers) {
            (Some(sum), _) => Ok(sum.into()),
            (None, Some(sum)) => Ok(sum.into()),
            (None, None) => too_large(call),
        }
    })
}

fn too_large(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.fail("the sum is too large for an integer")
}

fn repeat(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    let Ok(times) = usize::try_from(call.integer(1)) else {
        return call.fail(format!("`times` must not be negative, but is {}", call.integer(1)));
    };
    let length = text.len().saturating_mul(times);
    call.limit_text(length)?;
    call.charge_bytes(length)?;
    call.reserve(length)?;
    // Nothing repeated has no bytes that bound the number of turns.
    Ok(if length == 0 { ImmutableString::new().into() } else { text.repeat(times).into() })
}

fn trimmed(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    call.charge_bytes(text.len())?;
    let trimmed = text.trim();
    if trimmed.len() == text.len() {
        return Ok(text.into());
    }
    call.reserve(trimmed.len())?;
    Ok(trimmed.into())
}

fn replaced(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (text, from, to) = (call.text(0), written(call, 1), written(call, 2));
    if from.is_empty() {
        return call.fail("`from` must not be empty");
    }
    if !text.contains(from.as_str()) {
        return Ok(text.into());
    }
    let mut out = Text::new(call);
    let mut done = 0;
    for (at, found) in text.match_indices(from.as_str()) {
        out.push_str(&text[done..at])?;
        out.push_str(&to)?;
        done = at + found.len();
    }
    out.push_str(&text[done..])?;
    Ok(out.finish())
}

fn lines(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    let mut lines = Items::new(call);
    text.lines().try_for_each(|line| lines.push_text(line))?;
    Ok(lines.finish())
}

fn format_number(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let digits = match call.integer(1) {
        // The range ends far below the maximum of `usize`.
        digits @ 0..=DIGITS_MAX => digits as usize,
        digits => return call.fail(format!("`digits` must be between 0 and {DIGITS_MAX}, not {digits}")),
    };
    let number = match (call.value(0).as_int(), call.value(0).as_float()) {
        (Ok(integer), _) if digits == 0 => integer.to_string(),
        (Ok(integer), _) => format!("{integer}.{:0<digits$}", ""),
        (_, Ok(float)) if float.is_finite() => format!("{float:.digits$}"),
        (_, float) => {
            let number = float.unwrap_or(f64::NAN);
            return call.fail(format!("`number` must be finite, not {number}"));
        }
    };
    let (sign, number) = match number.strip_prefix('-') {
        // Rounded to zero.
        Some(number) if number.bytes().all(|byte| matches!(byte, b'0' | b'.')) => ("", number),
        Some(number) => ("-", number),
        None => ("", number.as_str()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let options = call.options();
    let (group, point) = (options.text("group"), options.text("point"));
    let mut text = Text::new(call);
    text.push_str(sign)?;
    match group {
        Some(group) => {
            for (index, digit) in whole.chars().enumerate() {
                if index > 0 && (whole.len() - index).is_multiple_of(3) {
                    text.push_str(&group)?;
                }
                text.push(digit)?;
            }
        }
        None => text.push_str(whole)?,
    }
    if !fraction.is_empty() {
        text.push_str(point.as_deref().unwrap_or("."))?;
        text.push_str(fraction)?;
    }
    Ok(text.finish())
}
