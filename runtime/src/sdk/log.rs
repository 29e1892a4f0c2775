//! `log::trace`, `log::info`, `log::warn`, `log::error`: structured log lines of an execution.
//!
//! Each takes a message and optional data, which is stored as JSON. Lines go to the host as they are written. The
//! output of an execution is limited; lines beyond the limit are counted and dropped.

use std::borrow::Cow;

use manifest_schema::execution::LogLevel;
use manifest_schema::sdk::SdkVersion;
use rhai::{Dynamic, ImmutableString};

use super::call::{Call, Outcome};
use super::signature::{Function, Kinds, Parameter, SdkModule};
use crate::json;
use crate::log_line::LogLine;
use crate::run_context;
use crate::secrets::Secrets;

/// The maximum length of a message, in bytes; longer ones are cut off.
const MESSAGE_MAX: usize = 8 * 1024;

/// The maximum length of the data of one line, in bytes of JSON.
const DATA_MAX: usize = 64 * 1024;

/// The module `log`.
pub(super) const MODULE: SdkModule = SdkModule {
    name: "log",
    since: SdkVersion::V1_0,
    summary: "Writes the log of the app.",
    functions: &[
        function("trace", "Logs a line of level trace.", |call| write(call, LogLevel::Trace)),
        function("info", "Logs a line of level info.", |call| write(call, LogLevel::Info)),
        function("warn", "Logs a line of level warn.", |call| write(call, LogLevel::Warn)),
        function("error", "Logs a line of level error.", |call| write(call, LogLevel::Error)),
    ],
};

const fn function(
    name: &'static str,
    summary: &'static str,
    run: fn(&Call<'_, '_>) -> Outcome<Dynamic>,
) -> Function {
    const PARAMETERS: &[Parameter] =
        &[Parameter::new("message", Kinds::ANY), Parameter::new("data", Kinds::ANY)];
    Function { name, parameters: PARAMETERS, required: 1, returns: "()", summary, errors: &[], run }
}

fn write(call: &Call<'_, '_>, level: LogLevel) -> Outcome<Dynamic> {
    let secrets = run_context::secrets();
    let message =
        text(call.value(0), secrets.as_deref()).or_else(|error| call.fail_shared(error.to_string()))?;
    let data = call.has(1).then(|| json::write_text(call.value(1), DATA_MAX)).transpose();
    let data = data.or_else(|error| call.fail_shared(error.to_string()))?;
    let data = data.map(|data| match &secrets {
        Some(secrets) => secrets.redact(&data).into_owned(),
        None => data,
    });
    let bytes = message.len() + data.as_ref().map_or(0, String::len);
    let Some((number, elapsed)) = run_context::admit_log_line(bytes) else { return Ok(Dynamic::UNIT) };
    let (library, line) = call.position().line().map(run_context::locate).unzip();
    let library = library.flatten().or_else(run_context::function_script);
    let column = call.position().position();
    let logged = run_context::host_call(|host| {
        let (library, message, data) = (library.clone(), message.clone(), data.clone());
        host.log(LogLine { number, level, message, data, library, line, column, elapsed })
    });
    logged.map(Dynamic::from).or_else(|_| call.terminated())
}

/// A string as it is, any other value as JSON, of at most [`MESSAGE_MAX`] bytes. `secrets` are redacted before the
/// text is cut, so that no prefix of a secret remains at its end.
fn text(value: &Dynamic, secrets: Option<&Secrets>) -> Result<String, json::JsonError> {
    let redacted = |text: &str| {
        let text = secrets.map_or(Cow::Borrowed(text), |secrets| secrets.redact(text));
        text[..text.floor_char_boundary(MESSAGE_MAX)].to_owned()
    };
    match value.read_lock::<ImmutableString>() {
        Some(text) => Ok(redacted(&text)),
        None => json::write_text(value, MESSAGE_MAX).map(|text| redacted(&text)),
    }
}
