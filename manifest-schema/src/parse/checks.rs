//! `[[checks]]`: requests that a commit must answer before it goes live, since SDK 1.3.

use std::collections::BTreeMap;

use super::{JobDraft, array_items, document, job_name};
use crate::diagnostic::{Span, quoted};
use crate::manifest::{CHECKS_MAX, Check, CheckRequest, Expect, SecretNames};
use crate::method::Method;
use crate::name::{JobName, SettingName};
use crate::sdk::SdkVersion;
use crate::source::Source;
use crate::table::{Keys, Table, Value};

pub(super) const KEYS: Keys =
    Keys { known: &["name", "request", "headers", "body", "secrets", "kv", "expect"], reserved: &["http"] };

/// The keys of the expected answer.
pub(super) const EXPECT_KEYS: Keys =
    Keys { known: &["status", "headers", "json", "contains"], reserved: &[] };

/// The maximum length of a key of the state, as in scripts.
const STATE_KEY_BYTES_MAX: usize = 512;

/// The first version with checks.
const SINCE: SdkVersion = SdkVersion::V1_3;

/// Reads `[[checks]]`; `None` if this version has none. `required` are the secrets, if they are valid.
pub(super) fn read(
    root: &Table<'_>,
    sdk: Option<SdkVersion>,
    required: Option<&SecretNames>,
    source: &mut Source<'_>,
) -> Option<Vec<JobDraft<Check>>> {
    let Some(value) = root.get("checks") else { return Some(Vec::new()) };
    if let (Some(sdk), Some(span)) = (sdk.filter(|sdk| *sdk < SINCE), root.key_span("checks")) {
        let message = format!("`checks` requires sdk {SINCE}, this manifest has {sdk}");
        source.error_with(span, message, Some(format!("set `sdk = \"{SINCE}\"`")));
        return None;
    }
    let drafts = array_items(root, "checks", source, |value, source| check(value, required, source));
    if drafts.len() > CHECKS_MAX {
        let message = format!("`checks` has {} entries, more than {CHECKS_MAX}", drafts.len());
        source.error_with(value.span(), message, Some("test the rest with  picloud test".to_owned()));
        return None;
    }
    Some(drafts)
}

fn check(value: Value<'_>, required: Option<&SecretNames>, source: &mut Source<'_>) -> JobDraft<Check> {
    let Some(table) = value.table("[[checks]]", &KEYS, source) else {
        return JobDraft { name: None, job: None };
    };
    let name = job_name(&table, source);
    let request = request(&table, source);
    let headers = headers(&table, "headers", source);
    let body = table.get("body").map_or(Some(None), |value| value.json(source).map(Some));
    let secrets = secrets(&table, required, source);
    let kv = state(&table, source);
    let expect = table.get("expect").map_or_else(|| Some(Expect::default()), |value| expect(value, source));
    let job = name.clone().and_then(|(name, _)| {
        Some(Check {
            name,
            request: request?,
            headers: headers?,
            body: body?,
            secrets: secrets?,
            kv: kv?,
            expect: expect?,
        })
    });
    JobDraft { name, job }
}

fn request(table: &Table<'_>, source: &mut Source<'_>) -> Option<CheckRequest> {
    let text = table.require_string("request", source)?;
    let (method, target) = text.value.split_once(' ').unwrap_or(("", text.value));
    let is_target =
        |target: &str| target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(method) = Method::parse(method).filter(|_| is_target(target)) {
        return Some(CheckRequest { method, target: target.to_owned() });
    }
    let target = target.trim();
    let path =
        target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let upper = Method::parse(&method.to_ascii_uppercase());
    let help = match (upper, is_target(path)) {
        (Some(method), true) => format!("write `\"{} {path}\"`", method.as_str()),
        (None, true) if method.is_empty() => format!("write `\"GET {path}\"`"),
        (None, true) => format!("expected one of {}", Method::ALL.map(Method::as_str).join(", ")),
        (_, false) => {
            "write a method and a path, such as `\"GET /\"`; encode other characters as `%20`".to_owned()
        }
    };
    let message = format!("{} is not a method and a path", quoted(text.value));
    source.error_with(text.span, message, Some(help));
    None
}

/// The state that the request finds.
fn state(table: &Table<'_>, source: &mut Source<'_>) -> Option<BTreeMap<String, serde_json::Value>> {
    let Some(value) = table.get("kv") else { return Some(BTreeMap::new()) };
    let mut state = Some(BTreeMap::new());
    for (key, span, value) in value.entries("kv = { \"key\" = value }", source)? {
        if key.is_empty() || key.len() > STATE_KEY_BYTES_MAX || key.contains('\0') {
            let message = format!("a key of `kv` has 1 to {STATE_KEY_BYTES_MAX} bytes without NUL");
            source.error(span, message);
            state = None;
            continue;
        }
        match value.json(source) {
            Some(json) => {
                if let Some(state) = &mut state {
                    state.insert(key.to_owned(), json);
                }
            }
            None => state = None,
        }
    }
    state
}

/// A table of headers (RFC 9110 section 5).
fn headers(
    table: &Table<'_>,
    key: &'static str,
    source: &mut Source<'_>,
) -> Option<BTreeMap<String, String>> {
    let Some(value) = table.get(key) else { return Some(BTreeMap::new()) };
    let mut headers = Some(BTreeMap::new());
    for (name, span, value) in value.entries("headers = { name = \"value\" }", source)? {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            source.error(span, format!("{} is not the name of a header", quoted(name)));
            headers = None;
            continue;
        }
        match value.string(source) {
            Some(text) if text.value.chars().any(char::is_control) => {
                source
                    .error(text.span, format!("the value of header {} has control characters", quoted(name)));
                headers = None;
            }
            Some(text) => {
                if let Some(headers) = &mut headers {
                    headers.insert(name.to_ascii_lowercase(), text.value.to_owned());
                }
            }
            None => headers = None,
        }
    }
    headers
}

/// The values of secrets, which the manifest must require.
fn secrets(
    table: &Table<'_>,
    required: Option<&SecretNames>,
    source: &mut Source<'_>,
) -> Option<BTreeMap<SettingName, String>> {
    let Some(value) = table.get("secrets") else { return Some(BTreeMap::new()) };
    let mut secrets = Some(BTreeMap::new());
    for (name, span, value) in value.entries("secrets = { NAME = \"value\" }", source)? {
        let text = value.string(source);
        let declared = required.map(|secrets| secrets.required.iter());
        let Some(declared) = declared else {
            secrets = None;
            continue;
        };
        match (declared.clone().find(|secret| secret.as_str() == name), text) {
            (Some(secret), Some(text)) => {
                if let Some(secrets) = &mut secrets {
                    secrets.insert(secret.clone(), text.value.to_owned());
                }
            }
            (Some(_), None) => secrets = None,
            (None, _) => {
                let near = source.did_you_mean(name, declared.map(SettingName::as_str));
                let help = near.unwrap_or_else(|| "add it to `required` of [secrets]".to_owned());
                let message = format!("the manifest declares no secret {}", quoted(name));
                source.error_with(span, message, Some(help));
                secrets = None;
            }
        }
    }
    secrets
}

fn expect(value: Value<'_>, source: &mut Source<'_>) -> Option<Expect> {
    let table = value.table("expect = { ... }", &EXPECT_KEYS, source)?;
    let status = match table.get("status") {
        None => Some(Expect::default().status),
        Some(value) => value.integer(source).and_then(|status| {
            let found = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
            if found.is_none() {
                source.error(value.span(), "`status` must be between 200 and 599".to_owned());
            }
            found
        }),
    };
    let headers = headers(&table, "headers", source);
    let json = table.get("json").map_or(Some(None), |value| value.json(source).map(Some));
    let contains =
        table.get("contains").map_or(Some(None), |value| Some(Some(value.string(source)?.value.to_owned())));
    Some(Expect { status: status?, headers: headers?, json: json?, contains: contains? })
}

/// The span of the request of a check in a manifest, for errors that only a run finds.
pub fn check_span(manifest: &[u8], check: &JobName) -> Option<Span> {
    let text = document::text(manifest).ok()?;
    let root = document::parse(&mut Source::new(text))?;
    let checks = root.get_ref().get("checks")?.get_ref().as_array()?;
    let mut tables = checks.iter().filter_map(|check| check.get_ref().as_table());
    let named = tables
        .find(|table| table.get("name").and_then(|name| name.get_ref().as_str()) == Some(check.as_str()))?;
    Some(Span::from_range(text, named.get("request")?.span()))
}
