//! Builds the `ctx` value of a script from an invocation.
//!
//! Only the parts that the script reads are built. In particular, the body is parsed before the execution only if the
//! script reads it. `ctx.request` exists for every trigger:
//!
//! | | HTTP | function | schedule |
//! | --- | --- | --- | --- |
//! | `path` | the path within the app, decoded | `""` | `""` |
//! | `headers` | by lower-case name; repeated ones joined by `, ` (`cookie` by `; `) | `#{}` | `#{}` |
//! | `params` | the captures of the route | `#{}` | `#{}` |
//! | `query` | decoded; the last value of a repeated key | `#{}` | `#{}` |
//! | `rest` | the value of `{*rest}`, else `()` | `()` | `()` |
//! | `body` | by content type, see below | the JSON payload | `()` |
//! | `method` | `GET`, `POST`, ... | `""` | `""` |
//! | `scheme`, `host`, `ip` | as trusted proxies report them | `""` | `""` |
//! | `base` | what the paths of the app begin with | `""` | `""` |
//! | `cookies` | by name; the first value of a repeated name | `#{}` | `#{}` |
//! | `query_all` | all values by key | `#{}` | `#{}` |
//! | `form` | the last value of each field | `#{}` | `#{}` |
//! | `form_all` | all values by field | `#{}` | `#{}` |
//! | `files` | `#{field, name, content_type, data}` of each file | `[]` | `[]` |
//! | `bytes` | the body as a blob | the payload as a blob | an empty blob |
//!
//! An empty body is `()`. `application/json` and every `+json` type are parsed; invalid JSON is an error of the
//! client and fails the execution with [`crate::FailureKind::InvalidJson`] before the script starts. `text/*`, forms
//! (`application/x-www-form-urlencoded`), XML and JavaScript are strings, decoded as UTF-8 with U+FFFD for invalid
//! bytes, or as Latin-1 if the content type says so. Anything else is a blob.
//!
//! - `body`: the body by its content type
//! - `form` and `multipart`: the fields and the files in it
//! - `cookies` and `header_parameters`: what headers contain

mod body;
mod cookies;
mod form;
mod header_parameters;
mod multipart;

use rhai::{Array, Dynamic, Map};
use uuid::Uuid;

use crate::check::Script;
use crate::failure::Failure;
use crate::invocation::{HttpRequest, Invocation, Trigger};
use crate::percent;
use crate::revision::{Revision, ScriptEntry};
use crate::sdk::{Property, RequestProperty, Settings};
use form::Form;

/// Builds `ctx` for one execution.
///
/// # Errors
/// The script reads the body or its form, and it is not what its content type says.
pub(crate) fn build(
    revision: &Revision,
    entry: &ScriptEntry,
    script: &Script,
    invocation: &Invocation,
) -> Result<Map, Failure> {
    let mut ctx = Map::new();
    let sdk = revision.manifest().sdk;
    let read = |property: &Property| script.uses().contains(*property) && property.since() <= sdk;
    for property in Property::ALL.into_iter().filter(read) {
        let value = match property {
            Property::SdkVersion => sdk.as_str().into(),
            Property::ExecutionId => uuid(invocation.execution_id),
            Property::RequestId => uuid(invocation.request_id),
            Property::ScriptId => uuid(entry.id),
            Property::ScriptName => invocation.script.stem().into(),
            Property::InvocationType => invocation.trigger.kind().as_str().into(),
            Property::Request => Dynamic::from_map(request(script, &invocation.trigger)?),
            Property::Env if sdk >= Settings::SINCE => Settings::env(revision),
            Property::Secrets if sdk >= Settings::SINCE => Settings::secrets(revision),
            Property::Env => {
                let env = revision.manifest().env.iter();
                strings(env.map(|(name, value)| (name.as_str(), value.as_str())))
            }
            Property::Secrets => strings(revision.secrets().iter()),
            Property::App => revision.app().as_str().into(),
            Property::Branch => revision.branch().into(),
            Property::Commit => revision.commit().into(),
            Property::Started => invocation.started_at_ms.into(),
            Property::Schedule => schedule(&invocation.trigger),
        };
        ctx.insert(property.name().into(), value);
    }
    Ok(ctx)
}

/// The due schedule; `()` if something else started the script.
fn schedule(trigger: &Trigger) -> Dynamic {
    let Trigger::Scheduled(run) = trigger else { return Dynamic::UNIT };
    let last_success = run.last_success_ms.map_or(Dynamic::UNIT, Dynamic::from);
    let entries = [
        ("name", run.name.as_str().into()),
        ("due", run.due_at_ms.into()),
        ("last_success", last_success),
        ("missed", i64::try_from(run.missed).unwrap_or(i64::MAX).into()),
    ];
    Dynamic::from_map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// A map of strings.
fn strings<'s>(entries: impl Iterator<Item = (&'s str, &'s str)>) -> Dynamic {
    Dynamic::from_map(entries.map(|(name, value)| (name.into(), value.into())).collect())
}

fn uuid(id: Uuid) -> Dynamic {
    let mut buffer = Uuid::encode_buffer();
    let text: &str = id.hyphenated().encode_lower(&mut buffer);
    text.into()
}

fn request(script: &Script, trigger: &Trigger) -> Result<Map, Failure> {
    let http = match trigger {
        Trigger::Http(request) => Some(&**request),
        Trigger::Function { .. } | Trigger::Scheduled(_) => None,
    };
    let mut request = Map::new();
    let there = |property: &RequestProperty| {
        script.uses().contains_request(*property) && property.since() <= script.sdk()
    };
    let form = match http {
        Some(http) if RequestProperty::OF_FORM.iter().any(there) => {
            Form::read(content_type(http), &http.body)?
        }
        _ => Form::default(),
    };
    for property in RequestProperty::ALL.into_iter().filter(there) {
        let value = match property {
            RequestProperty::Path => http.map_or("", |http| http.path.as_str()).into(),
            RequestProperty::Headers => Dynamic::from_map(http.map_or_else(Map::new, headers)),
            RequestProperty::Body => match trigger {
                Trigger::Http(http) => body::read(content_type(http), &http.body)?,
                Trigger::Function { payload, .. } => body::read("application/json", payload)?,
                Trigger::Scheduled(_) => Dynamic::UNIT,
            },
            RequestProperty::Params => Dynamic::from_map(http.map_or_else(Map::new, params)),
            RequestProperty::Query => {
                Dynamic::from_map(http.map_or_else(Map::new, |http| query(&http.query)))
            }
            RequestProperty::Rest => {
                http.and_then(|http| http.rest.as_deref()).map_or(Dynamic::UNIT, Into::into)
            }
            RequestProperty::Method => http.map_or("", |http| http.method.as_str()).into(),
            RequestProperty::Scheme => http.map_or("", |http| http.origin.scheme.as_str()).into(),
            RequestProperty::Host => http.map_or("", |http| http.origin.host.as_str()).into(),
            RequestProperty::Base => http.map_or("", |http| http.origin.base.as_str()).into(),
            RequestProperty::Ip => {
                http.map_or_else(String::new, |http| http.origin.client.to_string()).into()
            }
            RequestProperty::Cookies => Dynamic::from_map(http.map_or_else(Map::new, cookies::read)),
            RequestProperty::QueryAll => {
                Dynamic::from_map(http.map_or_else(Map::new, |http| query_all(&http.query)))
            }
            RequestProperty::Form => Dynamic::from_map(form.last_values()),
            RequestProperty::FormAll => Dynamic::from_map(form.all_values()),
            RequestProperty::Files => Dynamic::from_array(form.files()?),
            RequestProperty::Bytes => Dynamic::from_blob(match trigger {
                Trigger::Http(http) => http.body.to_vec(),
                Trigger::Function { payload, .. } => payload.to_vec(),
                Trigger::Scheduled(_) => Vec::new(),
            }),
        };
        request.insert(property.name().into(), value);
    }
    Ok(request)
}

fn params(http: &HttpRequest) -> Map {
    let mut params = Map::new();
    for (name, value) in &http.params {
        params.insert((&**name).into(), value.as_str().into());
    }
    params
}

fn headers(http: &HttpRequest) -> Map {
    let mut headers = Map::new();
    http.headers.for_each(&mut |name, value| {
        let name = name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(value);
        // RFC 9110 section 5.3, and RFC 9113 section 8.2.3 for cookies.
        let separator = if name == "cookie" { "; " } else { ", " };
        let joined =
            match headers.get(name.as_str()).and_then(|held| held.read_lock::<rhai::ImmutableString>()) {
                Some(held) => format!("{}{separator}{value}", held.as_str()),
                None => value.into_owned(),
            };
        headers.insert(name.into(), joined.into());
    });
    headers
}

fn query(raw: &str) -> Map {
    let mut query = Map::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.insert(percent::decode_form(key).into(), percent::decode_form(value).into());
    }
    query
}

fn query_all(raw: &str) -> Map {
    let mut all = Map::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let values =
            all.entry(percent::decode_form(key).into()).or_insert_with(|| Dynamic::from_array(Array::new()));
        if let Some(mut values) = values.write_lock::<Array>() {
            values.push(percent::decode_form(value).into());
        }
    }
    all
}

fn content_type(http: &HttpRequest) -> &str {
    http.headers.get("content-type").and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::json;

    fn text(map: &Map, key: &str) -> String {
        map[key].clone().into_string().unwrap()
    }

    #[test]
    fn last_value_of_repeated_query_key_wins() {
        let query = query("a=1&b=x+y%21&a=2&c&&=e&d=1=2");
        assert_eq!((text(&query, "a"), text(&query, "b")), ("2".into(), "x y!".into()));
        assert_eq!(
            (text(&query, "c"), text(&query, ""), text(&query, "d")),
            ("".into(), "e".into(), "1=2".into())
        );
    }

    #[test]
    fn repeated_headers_are_joined() {
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let sent = vec![
            header("Accept", "a"),
            header("cookie", "x=1"),
            header("accept", "b"),
            header("cookie", "y=2"),
        ];
        let http = HttpRequest { headers: Arc::new(sent), ..HttpRequest::default() };
        let headers = headers(&http);
        assert_eq!((text(&headers, "accept"), text(&headers, "cookie")), ("a, b".into(), "x=1; y=2".into()));
    }

    #[test]
    fn all_values_of_query_key_are_kept() {
        let all = query_all("a=1&b=x+y&a=2&&c");
        let written = json::write_text(&Dynamic::from_map(all), 1000).unwrap();
        assert_eq!(written, r#"{"a":["1","2"],"b":["x y"],"c":[""]}"#);
    }
}
