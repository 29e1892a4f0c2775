//! The JSON Schema of `picloud.toml`, for editors.
//!
//! It is generated from the types of [`crate::manifest`]; the schemas of scalar values are here and use the same
//! constants as the parser. Patterns are ECMA-262 regular expressions. The schema accepts every valid manifest, but
//! not only those: it cannot express unique names, route conflicts, missing scripts or cron expressions that are
//! never due. [`crate::parse`] checks these.
//!
//! It uses draft 7, which all editors support.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::cron::Cron;
use crate::manifest::{CheckRequest, Manifest};
use crate::method::{Method, MethodSet};
use crate::name::{DomainName, JobName, ScriptPath, SettingName};
use crate::path::{PATH_MAX, RoutePath};
use crate::sdk::SdkVersion;
use crate::units::{DurationText, Size};
use crate::zone::zone_data;

/// The schema as a JSON document.
pub fn json_schema() -> Value {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<Manifest>().to_value()
}

impl JsonSchema for SdkVersion {
    fn schema_name() -> Cow<'static, str> {
        "SdkVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": SdkVersion::ALL.map(SdkVersion::as_str) })
    }
}

impl JsonSchema for MethodSet {
    fn schema_name() -> Cow<'static, str> {
        "Methods".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": { "type": "string", "enum": Method::ALL.map(Method::as_str) },
            "minItems": 1,
            "uniqueItems": true,
        })
    }
}

impl JsonSchema for JobName {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_-]{0,59}$" })
    }
}

impl JsonSchema for DomainName {
    fn schema_name() -> Cow<'static, str> {
        "Domain".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let label = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
        // The last label is not a number, as in an IPv4 address, and not `localhost`.
        let pattern = format!(r"^(?:{label}\.)+(?![0-9]+$)(?!localhost$){label}$");
        json_schema!({ "type": "string", "maxLength": 253, "pattern": pattern })
    }
}

impl JsonSchema for SettingName {
    fn schema_name() -> Cow<'static, str> {
        "SettingName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,63}$" })
    }
}

impl JsonSchema for ScriptPath {
    fn schema_name() -> Cow<'static, str> {
        "ScriptPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Segments separated by slashes, none of them empty, `.` or `..`; the last one has a name before its
        // extension.
        let pattern = r"^(?:(?!\.{1,2}/)[^/\\\u0000]+/)*[^/\\\u0000]+\.rhai$";
        json_schema!({ "type": "string", "maxLength": ScriptPath::MAX, "pattern": pattern })
    }
}

impl JsonSchema for RoutePath {
    fn schema_name() -> Cow<'static, str> {
        "RoutePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let literal = r"(?!\.{1,2}(?:/|$))[^/{}?#%\\\u0000-\u001f\u007f-\u009f]+";
        let name = "[a-zA-Z_][a-zA-Z0-9_]*";
        let pattern = format!(r"^(?:/(?:{literal}|\{{{name}\}}))*(?:/(?:\{{\*{name}\}})?)?$");
        json_schema!({ "type": "string", "minLength": 1, "maxLength": PATH_MAX, "pattern": pattern })
    }
}

impl JsonSchema for CheckRequest {
    fn schema_name() -> Cow<'static, str> {
        "CheckRequest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let methods = Method::ALL.map(Method::as_str).join("|");
        json_schema!({
            "type": "string",
            "pattern": format!(r"^(?:{methods}) /[!-~]*$"),
            "examples": ["GET /", "POST /orders?dry=1"],
        })
    }
}

/// One value in Rust, two keys in the manifest.
impl JsonSchema for Cron {
    fn schema_name() -> Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "cron": {
                    "description": "When it is due: minute, hour, day of month, month, weekday; six fields with seconds \
                        first; or a nickname such as `@hourly`.",
                    "type": "string",
                    "pattern": r"^\s*(?:@[a-zA-Z]+|\S+(?:\s+\S+){4,5})\s*$",
                    "examples": ["*/5 * * * *", "0 7 * * MON-FRI", "@daily"],
                },
                "timezone": {
                    "description": "The IANA time zone that the expression is read in.",
                    "type": "string",
                    "enum": zone_data().names(),
                    "default": "UTC",
                },
            },
            "required": ["cron"],
        })
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(?:ms|s|m|h|d|w)$", "examples": ["5s", "500ms", "1m"] })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^[0-9]+(?:B|KiB|MiB|GiB)$" },
                { "description": "A number of bytes.", "type": "integer", "minimum": 1 },
            ],
            "examples": ["64MiB", "512KiB"],
        })
    }
}
