//! `url`: addresses of the web (WHATWG URL standard).

use manifest_schema::sdk::SdkVersion;
use rhai::{Array, Dynamic, ImmutableString, Map};
use url::Url;

use super::call::{Call, Outcome, quoted};
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::percent;
use crate::type_name::type_name;

/// The maximum length of a parsed URL, in bytes: longer than most servers accept. Punycode takes quadratic time in the
/// length of a label, which is at most 1,000 characters, so that a host takes some milliseconds.
const URL_MAX: usize = 16 * 1024;

/// What parsing costs for each byte, in steps.
const STEPS_PER_BYTE: usize = 8;

const TEXT: Parameter = Parameter::new("text", Kinds::TEXT);

/// The module `url`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "url",
    since: SdkVersion::V1_3,
    summary: "Addresses of the web.",
    functions: &[
        Function {
            name: "parse",
            parameters: &[TEXT],
            required: 1,
            returns: "map or ()",
            summary: "The parts of an absolute URL: `scheme`, `host`, `port`, `path`, `query`, `hash` and `href`; `()` if it is none.",
            errors: &[],
            run: parse,
        },
        Function {
            name: "query",
            parameters: &[Parameter::new("map", Kinds::MAP)],
            required: 1,
            returns: "text",
            summary: "A query without `?`, such as `a=1&b=x+y`; an array gives its key once for each item, `()` gives nothing.",
            errors: &["`…` must be a string, a number, true or false, not …"],
            run: query,
        },
        Function {
            name: "encode",
            parameters: &[TEXT],
            required: 1,
            returns: "text",
            summary: "A text as one part of a path or a query: all but letters, digits, `-`, `.`, `_` and `~` as `%XX`.",
            errors: &[],
            run: encode,
        },
        Function {
            name: "decode",
            parameters: &[TEXT],
            required: 1,
            returns: "text or ()",
            summary: "The text that `encode` encoded; `()` if it is malformed or not UTF-8.",
            errors: &[],
            run: decode,
        },
        Function {
            name: "join",
            parameters: &[Parameter::new("base", Kinds::TEXT), Parameter::new("path", Kinds::TEXT)],
            required: 2,
            returns: "text",
            summary: "What a link to `path` in a document at `base` leads to; an absolute `path` leads to another host.",
            errors: &[
                "`base` must be an absolute URL such as https://example.org/, not \"…\"",
                "`path` is not a URL below `base`: \"…\"",
            ],
            run: join,
        },
    ],
};

/// Parses an absolute URL within bounds.
fn parsed(call: &Call<'_, '_>, base: Option<&Url>, text: &str) -> Outcome<Option<Url>> {
    if text.len() > URL_MAX {
        return Ok(None);
    }
    call.charge(text.len() * STEPS_PER_BYTE)?;
    Ok(Url::options().base_url(base).parse(text).ok())
}

fn parse(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let Some(url) = parsed(call, None, &call.text(0))? else { return Ok(Dynamic::UNIT) };
    let mut query = Map::new();
    for (key, value) in url.query_pairs() {
        call.charge(1 + (key.len() + value.len()) / 16)?;
        query.insert((&*key).into(), (&*value).into());
    }
    let text_or_unit = |text: Option<&str>| text.map_or(Dynamic::UNIT, Into::into);
    let parts = [
        ("scheme", url.scheme().into()),
        ("host", text_or_unit(url.host_str())),
        ("port", url.port().map_or(Dynamic::UNIT, |port| i64::from(port).into())),
        ("path", url.path().into()),
        ("query", query.into()),
        ("hash", text_or_unit(url.fragment())),
        ("href", url.as_str().into()),
    ];
    Ok(Dynamic::from_map(parts.into_iter().map(|(name, part)| (name.into(), part)).collect()))
}

fn join(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let (base, path) = (call.text(0), call.text(1));
    let Some(base_url) = parsed(call, None, &base)? else {
        return call.fail(format!(
            "`base` must be an absolute URL such as https://example.org/, not \"{}\"",
            quoted(&base)
        ));
    };
    match parsed(call, Some(&base_url), &path)? {
        Some(joined) => Ok(joined.as_str().into()),
        None => call.fail(format!("`path` is not a URL below `base`: \"{}\"", quoted(&path))),
    }
}

fn query(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    call.with_map(0, |map| {
        let mut query = String::new();
        for (key, value) in map.iter() {
            match value.read_lock::<Array>() {
                Some(values) => values.iter().try_for_each(|value| add_pair(call, &mut query, key, value))?,
                None => add_pair(call, &mut query, key, value)?,
            }
        }
        Ok(query.into())
    })
}

/// Adds `key=value`; nothing for `()`.
fn add_pair(call: &Call<'_, '_>, query: &mut String, key: &str, value: &Dynamic) -> Outcome<()> {
    let text = match Kinds::of(value) {
        Kinds::UNIT => return call.charge(1),
        Kinds::TEXT => value.read_lock::<ImmutableString>().map(|text| text.clone()).unwrap_or_default(),
        Kinds::INTEGER | Kinds::FLOAT | Kinds::BOOL | Kinds::CHARACTER => value.to_string().into(),
        _ => {
            let kind = type_name(value);
            return call
                .fail(format!("`{}` must be a string, a number, true or false, not {kind}", quoted(key)));
        }
    };
    // Each byte becomes at most three.
    let length = 3 * (key.len() + text.len()) + 2;
    call.limit_text(query.len() + length)?;
    call.charge(1 + length)?;
    call.reserve(query.len() + length)?;
    if !query.is_empty() {
        query.push('&');
    }
    query.extend(url::form_urlencoded::byte_serialize(key.as_bytes()));
    query.push('=');
    query.extend(url::form_urlencoded::byte_serialize(text.as_bytes()));
    Ok(())
}

fn encode(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    let is_kept = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    call.charge_bytes(text.len())?;
    let length = text.len() + 2 * text.bytes().filter(|byte| !is_kept(byte)).count();
    call.limit_text(length)?;
    call.charge(length)?;
    call.reserve(length)?;
    let mut encoded = String::with_capacity(length);
    for byte in text.bytes() {
        if is_kept(&byte) {
            encoded.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    Ok(encoded.into())
}

fn decode(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let text = call.text(0);
    call.charge_bytes(text.len() * 8)?;
    call.reserve(text.len())?;
    Ok(percent::decode_text(&text).map_or(Dynamic::UNIT, |decoded| decoded.into_owned().into()))
}
