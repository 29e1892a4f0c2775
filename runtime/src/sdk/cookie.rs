//! `cookie`: values of the header `set-cookie` (RFC 6265).

use std::fmt::Write as _;

use manifest_schema::sdk::SdkVersion;
use rhai::Dynamic;

use super::call::{Call, Outcome, quoted};
use super::signature::{Function, Kinds, OptionKey, Parameter, SdkModule};
use crate::invocation::Scheme;
use crate::run_context;

/// The maximum length of a cookie, in bytes; browsers ignore longer ones.
const COOKIE_MAX: usize = 4096;

const NAME: Parameter = Parameter::new("name", Kinds::TEXT);

const OPTIONS: &[OptionKey] = &[
    OptionKey::duration("max_age", "How long the browser keeps it; without it until the browser is closed."),
    OptionKey::new("path", Kinds::TEXT, "The paths it is sent to; by default those of the app."),
    OptionKey::new("domain", Kinds::TEXT, "The domain it is sent to, with its subdomains."),
    OptionKey::one_of(
        "same_site",
        &["Lax", "Strict", "None"],
        "Whether other sites can send it; by default `Lax`.",
    ),
    OptionKey::new(
        "secure",
        Kinds::BOOL,
        "Whether it is sent by HTTPS only; by default if the request came so.",
    ),
    OptionKey::new(
        "http_only",
        Kinds::BOOL,
        "Whether it is hidden from scripts of the page; by default it is.",
    ),
];

const ERRORS: &[&str] = &[NAME_ERROR, SAME_SITE_ERROR, PATH_ERROR, DOMAIN_ERROR, LENGTH_ERROR];
const NAME_ERROR: &str = "`…` is not the name of a cookie: use letters, digits, - and _";
const SAME_SITE_ERROR: &str =
    "browsers ignore a cookie with `same_site: \"None\"` that is not `secure: true`";
const PATH_ERROR: &str = "`path` cannot be \"…\"";
const DOMAIN_ERROR: &str = "`domain` cannot be \"…\"";
const LENGTH_ERROR: &str = "the cookie is longer than … bytes, so that browsers ignore it";

const MAKE_ERRORS: &[&str] = &[
    "`value` contains `…`, which a cookie cannot; encode it with `url::encode` or `base64::encode_url`",
    NAME_ERROR,
    SAME_SITE_ERROR,
    PATH_ERROR,
    DOMAIN_ERROR,
    LENGTH_ERROR,
];

/// The module `cookie`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "cookie",
    since: SdkVersion::V1_3,
    summary: "Values of the header `set-cookie`.",
    functions: &[
        Function {
            name: "make",
            parameters: &[NAME, Parameter::new("value", Kinds::TEXT), Parameter::options(OPTIONS)],
            required: 2,
            returns: "text",
            summary: "A value of the header `set-cookie` that sets a cookie.",
            errors: MAKE_ERRORS,
            run: make,
        },
        Function {
            name: "clear",
            parameters: &[NAME, Parameter::options(OPTIONS)],
            required: 1,
            returns: "text",
            summary: "A value of the header `set-cookie` that deletes a cookie; `path` and `domain` as when it was set.",
            errors: ERRORS,
            run: clear,
        },
    ],
};

fn make(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    let value = call.text(1);
    // RFC 6265 section 4.1.1: the browser would cut the value, or refuse it.
    if let Some(wrong) = value.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '"' | ',' | ';' | '\\'))
    {
        return call.fail(format!(
            "`value` contains `{}`, which a cookie cannot; encode it with `url::encode` or `base64::encode_url`",
            wrong.escape_debug()
        ));
    }
    let age = call.options().duration("max_age").map(|age| age.as_secs());
    written(call, &value, age)
}

fn clear(call: &Call<'_, '_>) -> Outcome<Dynamic> {
    written(call, "", Some(0))
}

fn written(call: &Call<'_, '_>, value: &str, max_age: Option<u64>) -> Outcome<Dynamic> {
    let (name, options) = (call.text(0), call.options());
    // A token of RFC 9110 section 5.6.2.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return call
            .fail(format!("`{}` is not the name of a cookie: use letters, digits, - and _", quoted(&name)));
    }
    let request = run_context::request();
    let origin = request.as_deref().map(|request| &request.origin);
    let same_site = options.text("same_site").unwrap_or_else(|| "Lax".into());
    let secure =
        options.flag("secure").unwrap_or(origin.is_some_and(|origin| origin.scheme == Scheme::Https));
    if same_site == "None" && !secure {
        return call.fail(SAME_SITE_ERROR);
    }
    let mut cookie = format!("{name}={value}");
    // Writing to a string cannot fail.
    if let Some(seconds) = max_age {
        let _ = write!(cookie, "; Max-Age={seconds}");
    }
    let path = options.text("path").map(|path| path.to_string());
    let path = path.unwrap_or_else(|| format!("{}/", origin.map_or("", |origin| origin.base.as_str())));
    for (attribute, value) in [("Path", Some(path)), ("Domain", options.text("domain").map(Into::into))] {
        let Some(value) = value else { continue };
        if value.is_empty() || value.chars().any(|c| c.is_control() || c == ';' || !c.is_ascii()) {
            let option = attribute.to_lowercase();
            return call.fail(format!("`{option}` cannot be \"{}\"", quoted(&value)));
        }
        let _ = write!(cookie, "; {attribute}={value}");
    }
    let _ = write!(cookie, "; SameSite={same_site}");
    if secure {
        cookie.push_str("; Secure");
    }
    if options.flag("http_only").unwrap_or(true) {
        cookie.push_str("; HttpOnly");
    }
    if cookie.len() > COOKIE_MAX {
        return call
            .fail(format!("the cookie is longer than {COOKIE_MAX} bytes, so that browsers ignore it"));
    }
    Ok(cookie.into())
}
