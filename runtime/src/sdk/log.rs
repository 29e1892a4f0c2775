//! `log::trace`, `log::info`, `log::warn`, `log::error`: structured log lines of an execution.
//!
//! Each takes a message and optional data, which is stored as JSON. Lines go to the host as they are written. The
//! output of an execution is limited; lines beyond the limit are counted and dropped.

use std::borrow::Cow;

use manifest_schema::execution::LogLevel;
use rhai::{Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::json;
use crate::log_line::LogLine;
use crate::run_context;
use crate::secrets::Secrets;

/// The maximum length of a message, in bytes; longer ones are cut off.
const MESSAGE_MAX: usize = 8 * 1024;

/// The maximum length of the data of one line, in bytes of JSON.
const DATA_MAX: usize = 64 * 1024;

/// The module `log`.
pub(crate) fn module() -> Module {
    let mut module = Module::new();
    for level in LogLevel::ALL {
        FuncRegistration::new(level.as_str())
            .set_into_module(&mut module, move |context: NativeCallContext<'_>, message: Dynamic| {
                write(&context, level, &message, None)
            });
        FuncRegistration::new(level.as_str()).set_into_module(
            &mut module,
            move |context: NativeCallContext<'_>, message: Dynamic, data: Dynamic| {
                write(&context, level, &message, Some(&data))
            },
        );
    }
    module
}

fn write(
    context: &NativeCallContext<'_>,
    level: LogLevel,
    message: &Dynamic,
    data: Option<&Dynamic>,
) -> Result<(), Box<EvalAltResult>> {
    let secrets = run_context::secrets();
    let message = text(message, secrets.as_deref()).map_err(|error| json_error(context, level, &error))?;
    let data = data.map(|data| json::write_text(data, DATA_MAX)).transpose();
    let data = data.map_err(|error| json_error(context, level, &error))?;
    let data = data.map(|data| match &secrets {
        Some(secrets) => secrets.redact(&data).into_owned(),
        None => data,
    });
    let bytes = message.len() + data.as_ref().map_or(0, String::len);
    let Some(elapsed) = run_context::admit_log_line(bytes) else { return Ok(()) };
    let position = context.call_position();
    let (line, column) = (position.line(), position.position());
    run_context::host_call(|host| {
        host.log(LogLine { level, message: message.clone(), data: data.clone(), line, column, elapsed })
    })
    .map_err(|_| EvalAltResult::ErrorTerminated(Dynamic::UNIT, position).into())
}

fn json_error(
    context: &NativeCallContext<'_>,
    level: LogLevel,
    error: &json::JsonError,
) -> Box<EvalAltResult> {
    let message = format!("log::{}: {error}", level.as_str());
    EvalAltResult::ErrorRuntime(message.into(), context.call_position()).into()
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
