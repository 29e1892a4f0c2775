//! `response`: responses as maps of the response convention, so that scripts can change them.

use manifest_schema::sdk::SdkVersion;
use rhai::{Dynamic, Map};
use url::Url;

use super::call::{Call, Outcome, quoted};
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::json::{self, JsonError};
use crate::response::BODY_MAX;
use crate::run_context;

/// The maximum length of an address to redirect to, in bytes; many servers and proxies accept no longer ones.
const LOCATION_MAX: usize = 8 * 1024;

/// The maximum length of a file name, in bytes, as in most file systems.
const NAME_MAX: usize = 255;

/// The maximum length of a content type, in bytes.
const CONTENT_TYPE_MAX: usize = 255;

const STATUS_ERRORS: &[&str] = &["`status` must be between 200 and 599, not …"];

const STATUS: Parameter = Parameter::new("status", Kinds::INTEGER);
const TEXT: Parameter = Parameter::new("text", Kinds::TEXT);

/// The module `response`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "response",
    since: SdkVersion::V1_3,
    summary: "Responses, as maps with `statusCode`, `headers` and `body`.",
    functions: &[
        Function {
            name: "html",
            parameters: &[TEXT, STATUS],
            required: 1,
            returns: "map",
            summary: "A page; status 200 unless another is given.",
            errors: STATUS_ERRORS,
            run: |call| with_text(call, "text/html; charset=utf-8"),
        },
        Function {
            name: "text",
            parameters: &[TEXT, STATUS],
            required: 1,
            returns: "map",
            summary: "A plain text; status 200 unless another is given.",
            errors: STATUS_ERRORS,
            run: |call| with_text(call, "text/plain; charset=utf-8"),
        },
        Function {
            name: "json",
            parameters: &[Parameter::new("value", Kinds::ANY), STATUS],
            required: 1,
            returns: "map",
            summary: "A value as JSON; status 200 unless another is given.",
            errors: STATUS_ERRORS,
            run: |call| with_json(call, call.value(0), status(call, 1, 200)?),
        },
        Function {
            name: "error",
            parameters: &[Parameter::new("message", Kinds::TEXT), STATUS],
            required: 2,
            returns: "map",
            summary: "An error with a status from 400 to 599; the body is the JSON `{\"error\": message}`.",
            errors: &["`status` must be between 400 and 599, not …"],
            run: error,
        },
        Function {
            name: "redirect",
            parameters: &[Parameter::new("to", Kinds::TEXT), STATUS],
            required: 1,
            returns: "map",
            summary: "A redirect to a path of the app, such as `/login`, or to a URL; status 303 unless another is given.",
            errors: &[
                "`status` must be 301, 302, 303, 307 or 308, not …",
                "`to` is longer than 8192 bytes",
                "`to` contains a control character",
                "`to` leads to another host: \"…\"; begin it with one / for a path of the app, or write out its scheme",
                "`to` must be a path that begins with / or a URL such as https://example.org/, not \"…\"",
            ],
            run: redirect,
        },
        Function {
            name: "file",
            parameters: &[
                Parameter::new("name", Kinds::TEXT),
                Parameter::new("content_type", Kinds::TEXT),
                Parameter::new("data", Kinds::DATA),
            ],
            required: 3,
            returns: "map",
            summary: "A download that browsers save under this name.",
            errors: &[
                "`content_type` must be a type such as application/pdf, not \"…\"",
                "`name` must be a file name of at most 255 bytes without control characters, not \"…\"",
            ],
            run: file,
        },
    ],
};

/// The map of a response.
fn response<const N: usize>(status: i64, headers: [(&str, Dynamic); N], body: Dynamic) -> Dynamic {
    let headers: Map = headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let parts = [("statusCode", status.into()), ("headers", headers.into()), ("body", body)];
    Dynamic::from_map(parts.into_iter().map(|(name, part)| (name.into(), part)).collect())
}

/// The argument `status`.
fn status(call: &Call<'_, '_>, index: usize, default: i64) -> Outcome<i64> {
    match call.has(index).then(|| call.integer(index)) {
        None => Ok(default),
        Some(status @ 200..=599) => Ok(status),
        Some(status) => call.fail(format!("`status` must be between 200 and 599, not {status}")),
    }
}

fn with_text(call: &Call<'_, '_>, content_type: &str) -> Outcome<Dynamic> {
    let status = status(call, 1, 200)?;
    Ok(response(status, [("content-type", content_type.into())], call.text(0).into()))
}

/// A response with `value` as JSON. It is written here, so that an error has the position of the call, and so that a
/// text is JSON too.
fn with_json(call: &Call<'_, '_>, value: &Dynamic, status: i64) -> Outcome<Dynamic> {
    match json::write_text(value, BODY_MAX) {
        Ok(body) => Ok(response(status, [("content-type", "application/json".into())], body.into())),
        Err(JsonError::LimitReached) => call.terminated(),
        Err(error) => call.fail_shared(error.to_string()),
    }
}

fn error(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let status = call.integer(1);
    if !(400..=599).contains(&status) {
        return call.fail(format!("`status` must be between 400 and 599, not {status}"));
    }
    let body = Map::from_iter([("error".into(), call.text(0).into())]);
    with_json(call, &body.into(), status)
}

fn redirect(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let status = if call.has(1) { call.integer(1) } else { 303 };
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return call.fail(format!("`status` must be 301, 302, 303, 307 or 308, not {status}"));
    }
    let to = call.text(0);
    if to.len() > LOCATION_MAX {
        return call.fail(format!("`to` is longer than {LOCATION_MAX} bytes"));
    }
    if to.chars().any(char::is_control) {
        return call.fail("`to` contains a control character");
    }
    call.charge(to.len() * 8)?;
    let location = match to.chars().next() {
        Some('/') => path_of_app(call, &to)?,
        Some('?' | '#') => after_path(call, &to)?,
        _ => absolute(call, &to)?,
    };
    Ok(response(status, [("location", location.into())], Dynamic::UNIT))
}

/// Some host, which no result contains.
fn here(to: &str) -> Option<Url> {
    Url::parse("http://app").ok()?.join(to).ok()
}

/// A path of the app, below its base. The path is normalized before, so that `..` does not leave the app, and so that
/// no browser takes its beginning for a host.
fn path_of_app(call: &Call<'_, '_>, to: &str) -> Outcome<String> {
    let leads_away = |path: &str| path.starts_with("//") || path.starts_with("/\\");
    let normalized = if leads_away(to) { None } else { here(to) };
    match normalized {
        Some(url) if !leads_away(url.path()) => {
            let request = run_context::request();
            let base = request.as_deref().map_or("", |request| request.origin.base.as_str());
            Ok(format!("{base}{}", &url[url::Position::BeforePath..]))
        }
        _ => call.fail(format!(
            "`to` leads to another host: \"{}\"; begin it with one / for a path of the app, or write out its scheme",
            quoted(to)
        )),
    }
}

/// The same path with another query or fragment.
fn after_path(call: &Call<'_, '_>, to: &str) -> Outcome<String> {
    match here(to) {
        Some(url) => Ok(url[url::Position::AfterPath..].to_owned()),
        None => no_address(call, to),
    }
}

fn absolute(call: &Call<'_, '_>, to: &str) -> Outcome<String> {
    match Url::parse(to) {
        Ok(url) if !matches!(url.scheme(), "javascript" | "data" | "vbscript") => Ok(url.into()),
        _ => no_address(call, to),
    }
}

fn no_address(call: &Call<'_, '_>, to: &str) -> Outcome<String> {
    call.fail(format!(
        "`to` must be a path that begins with / or a URL such as https://example.org/, not \"{}\"",
        quoted(to)
    ))
}

fn file(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let content_type = call.text(1);
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_type = |text: &str| !text.is_empty() && text.bytes().all(is_token);
    let essence = content_type.split(';').next().unwrap_or_default().trim_end();
    let is_valid = essence.split_once('/').is_some_and(|(kind, subtype)| is_type(kind) && is_type(subtype))
        && content_type.len() <= CONTENT_TYPE_MAX
        && !content_type.chars().any(|character| character.is_control() || !character.is_ascii());
    if !is_valid {
        return call.fail(format!(
            "`content_type` must be a type such as application/pdf, not \"{}\"",
            quoted(&content_type)
        ));
    }
    let disposition = disposition(call, &call.text(0))?;
    let bytes = call.with_bytes(2, <[u8]>::len);
    call.charge_bytes(bytes)?;
    call.reserve(bytes)?;
    let headers = [("content-type", content_type.into()), ("content-disposition", disposition.into())];
    Ok(response(200, headers, call.value(2).flatten_clone()))
}

/// The header `content-disposition` of a download (RFC 6266): the name in ASCII, and in UTF-8 if it differs.
fn disposition(call: &Call<'_, '_>, path: &str) -> Outcome<String> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_valid =
        !matches!(name, "" | "." | "..") && name.len() <= NAME_MAX && !name.chars().any(char::is_control);
    if !is_valid {
        return call.fail(format!(
            "`name` must be a file name of at most {NAME_MAX} bytes without control characters, not \"{}\"",
            quoted(path)
        ));
    }
    let is_plain = |character: char| character.is_ascii() && !matches!(character, '"' | '%');
    let ascii: String =
        name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect();
    let mut disposition = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        disposition.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // RFC 8187 section 3.2.1: `attr-char`.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                disposition.push(char::from(byte));
            } else {
                disposition.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    Ok(disposition)
}
