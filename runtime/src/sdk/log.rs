//! `log::trace`, `log::info`, `log::warn`, `log::error`: structured log lines of an execution.
//!
//! Each takes a message and, if wanted, data that is kept as JSON. Lines go to the run's host as they are written. What one
//! execution writes is bounded; what is beyond that is counted and left out.

use std::borrow::Cow;

use manifest_schema::execution::LogLevel;
use rhai::{Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::json;
use crate::log_line::LogLine;
use crate::run_context;
use crate::secrets::Secrets;

/// The longest message, in bytes; the rest is cut off.
const MESSAGE_MAX: usize = 8 * 1024;

/// The longest data of one line, in bytes of JSON.
const DATA_MAX: usize = 64 * 1024;

/// The module that scripts know as `log`.
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
    let message = text(message, secrets.as_deref()).map_err(|error| refused(context, level, &error))?;
    let data = data.map(|data| json::write_text(data, DATA_MAX)).transpose();
    let data = data.map_err(|error| refused(context, level, &error))?;
    let data = data.map(|data| match &secrets {
        Some(secrets) => secrets.redact(&data).into_owned(),
        None => data,
    });
    let bytes = message.len() + data.as_ref().map_or(0, String::len);
    let Some(after) = run_context::admit_log_line(bytes) else { return Ok(()) };
    let position = context.call_position();
    let (line, column) = (position.line(), position.position());
    run_context::host_call(|host| {
        host.log(LogLine { level, message: message.clone(), data: data.clone(), line, column, after })
    })
    .map_err(|_| EvalAltResult::ErrorTerminated(Dynamic::UNIT, position).into())
}

fn refused(context: &NativeCallContext<'_>, level: LogLevel, error: &json::JsonError) -> Box<EvalAltResult> {
    let message = format!("log::{}: {error}", level.as_str());
    EvalAltResult::ErrorRuntime(message.into(), context.call_position()).into()
}

/// A string as it is, any other value as JSON, of at most [`MESSAGE_MAX`] bytes; without `secrets`, which are taken out before
/// it is cut, so that no beginning of one is left at its end.
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
