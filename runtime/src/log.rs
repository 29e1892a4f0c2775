//! `log::trace`, `log::info`, `log::warn`, `log::error`: structured log lines of an execution.
//!
//! Each takes a message and, if wanted, data that is kept as JSON. Lines go to the run's [`Log`] as they are written.
//! What one execution may write is bounded; what is beyond that is counted and left out.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::secrets::Secrets;
use crate::{json, memory};

/// The most lines of one execution; enough to follow a script, too few to fill a disk with one request.
const LINES_MAX: u64 = 1000;

/// The most bytes of messages and data of one execution.
const BYTES_MAX: usize = 256 * 1024;

/// The longest message, in bytes; the rest is cut off.
const MESSAGE_MAX: usize = 8 * 1024;

/// The longest data of one line, in bytes of JSON.
const DATA_MAX: usize = 64 * 1024;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For whoever follows the script's steps.
    Trace,
    /// For the record.
    Info,
    /// Something to look at.
    Warn,
    /// Something is broken.
    Error,
}

impl Level {
    /// Every level, from least to most.
    pub const ALL: [Self; 4] = [Self::Trace, Self::Info, Self::Warn, Self::Error];

    /// The level's name: the function in scripts, and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line that a script wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The message, as the script has it: it may hold any character.
    pub message: String,
    /// The data as JSON, where there is any.
    pub data: Option<String>,
    /// The line of the script that wrote it, counted from 1.
    pub line: Option<usize>,
    /// The column in characters, counted from 1.
    pub column: Option<usize>,
    /// How long the run had gone on.
    pub after: Duration,
}

/// Takes the log lines of an execution.
pub trait Log: Send + Sync {
    /// Takes one line. The script waits for it, so it must be quick.
    fn write(&self, line: LogLine);
}

/// The log of the run that this thread is in.
struct Current {
    /// Where its lines go; `None`: they are held.
    log: Option<Arc<dyn Log>>,
    /// What must not stand in them.
    secrets: Option<Arc<Secrets>>,
    started: Instant,
    lines: u64,
    bytes: usize,
    dropped: u64,
    held: Vec<LogLine>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// A run's log while the run goes on; the log of a run around it comes back afterwards.
pub(crate) struct Attached(Option<Current>);

impl Attached {
    /// Sends the lines of the run that begins on this thread to `log`, or holds them where there is none, with names in the
    /// places of `secrets`.
    pub(crate) fn new(log: Option<Arc<dyn Log>>, secrets: &Arc<Secrets>, started: Instant) -> Self {
        let secrets = (!secrets.is_empty()).then(|| Arc::clone(secrets));
        let current = Current { log, secrets, started, lines: 0, bytes: 0, dropped: 0, held: Vec::new() };
        Self(CURRENT.replace(Some(current)))
    }

    /// The lines that were held.
    pub(crate) fn take_held(&self) -> Vec<LogLine> {
        let held = |current: &mut Option<Current>| Some(std::mem::take(&mut current.as_mut()?.held));
        CURRENT.with_borrow_mut(held).unwrap_or_default()
    }

    /// How many lines were left out.
    pub(crate) fn dropped(&self) -> u64 {
        CURRENT.with_borrow(|current| current.as_ref().map_or(0, |current| current.dropped))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}

/// The module that scripts know as `log`.
pub(crate) fn module() -> Module {
    let mut module = Module::new();
    for level in Level::ALL {
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
    level: Level,
    message: &Dynamic,
    data: Option<&Dynamic>,
) -> Result<(), Box<EvalAltResult>> {
    let secrets = CURRENT.with_borrow(|current| current.as_ref()?.secrets.clone());
    let message = text(message, secrets.as_deref()).map_err(|error| refused(context, level, &error))?;
    let data = data.map(|data| json::write_text(data, DATA_MAX)).transpose();
    let data = data.map_err(|error| refused(context, level, &error))?;
    let data = data.map(|data| match &secrets {
        Some(secrets) => secrets.redact(&data).into_owned(),
        None => data,
    });
    let admitted = CURRENT.with_borrow_mut(|current| {
        let current = current.as_mut()?;
        let bytes = current.bytes + message.len() + data.as_ref().map_or(0, String::len);
        if current.lines >= LINES_MAX || bytes > BYTES_MAX {
            current.dropped += 1;
            return None;
        }
        current.lines += 1;
        current.bytes = bytes;
        Some((current.log.clone(), current.started.elapsed()))
    });
    if let Some((log, after)) = admitted {
        let position = context.call_position();
        let (line, column) = (position.line(), position.position());
        // The line is the server's from here on: a copy of it must not be counted as the script's memory.
        memory::uncounted(|| {
            let line = LogLine { level, message: message.clone(), data: data.clone(), line, column, after };
            match log {
                Some(log) => log.write(line),
                None => hold(line),
            }
        });
    }
    Ok(())
}

/// Keeps a line until the run is over.
fn hold(line: LogLine) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            current.held.push(line);
        }
    });
}

fn refused(context: &NativeCallContext<'_>, level: Level, error: &json::JsonError) -> Box<EvalAltResult> {
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
