//! Messages of `picloud dev`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::name::AppName;
use platform::deploy::Planned;

use super::style::{bold, dim, green, red, yellow};
use super::{diagnostics, printable, push, with_causes};

/// The greeting with URLs and example commands. `address` is one of the addresses that it listens on.
pub(crate) fn greeting(
    app: &AppName,
    folder: &Path,
    listening: SocketAddr,
    address: SocketAddr,
    schedules: bool,
) -> String {
    let local = match listening.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => {
            format!("  http://{app}.localhost:{}/", address.port())
        }
        _ => String::new(),
    };
    let manual_run = format!(
        "run one manually with  PICLOUD_TOKEN=any picloud run NAME --url http://{address} --app {app}"
    );
    let schedules = match schedules {
        true => format!("enabled; {manual_run}"),
        false => format!("disabled; enable them with --schedules, or {manual_run}"),
    };
    format!(
        "PiCloud {version} serves {folder} until Ctrl-C, and reloads when a file is saved\n  \
           {app}  {url}  http://{address}/{app}/{local}\n  \
           schedules  {schedules}\n  \
           functions  PICLOUD_TOKEN=any picloud invoke NAME --url http://{address} --app {app}\n",
        version = env!("CARGO_PKG_VERSION"),
        folder = printable(&folder.display().to_string()),
        url = bold(&format!("http://{address}/")),
    )
}

/// A snapshot is live.
pub(crate) fn live(first: bool, planned: &Planned, warnings: &Diagnostics, took: Duration) -> String {
    let action = if first { "serving" } else { "reloaded" };
    let action = green(&format!("{action} in {} ms", took.as_millis()));
    let changes = push::planned(planned);
    format!("{}{changes}{action}\n", diagnostics::render_styled(warnings, diagnostics::SHOWN_MAX))
}

/// A snapshot was rejected.
pub(crate) fn rejected(diagnostics: &Diagnostics, is_live: bool) -> String {
    let problems = diagnostics::count_by_file(diagnostics.errors(), diagnostics.errors_by_file().len());
    let state = if is_live { "still serving the last valid version" } else { "nothing is served" };
    format!(
        "{}{}: {problems}; {state}\n",
        diagnostics::render_styled(diagnostics, diagnostics::SHOWN_MAX),
        red("error")
    )
}

/// `.env` has an invalid line, which is not shown since it can contain a secret.
pub(crate) fn invalid_env_file(line: Option<usize>) -> String {
    let location = line.map(|line| format!(":{line}")).unwrap_or_default();
    format!(
        "{}: .env{location} is not NAME=VALUE; values with spaces need quotes; the file is ignored\n",
        yellow("warning")
    )
}

/// `.env` cannot be read.
/// Another server of the folder has its state open.
pub(crate) fn state_in_use() -> String {
    let rest = "another picloud dev uses the state of this folder; this one begins with an empty state";
    format!("{}: {rest}\n", yellow("warning"))
}

pub(crate) fn unreadable_env_file(reason: &str) -> String {
    format!("{}: cannot read .env: {}\n", yellow("warning"), printable(reason))
}

/// The folder cannot be read.
pub(crate) fn unreadable(error: &dyn std::error::Error, is_live: bool) -> String {
    let state = if is_live { "still serving the last valid version" } else { "waiting for the folder" };
    format!("{}: {}; {state}\n", red("error"), with_causes(error))
}

/// Folders are polled instead of watched.
pub(crate) fn unwatched(error: &notify::Error) -> String {
    let hint = match error.kind {
        notify::ErrorKind::MaxFilesWatch => "\nhint: raise fs.inotify.max_user_watches (sysctl)",
        _ => "",
    };
    let reason = printable(&error.to_string());
    format!("{}: cannot watch all folders ({reason}); polling for changes{hint}\n", yellow("warning"))
}

/// A request and its response.
pub(crate) fn request(at: DateTime<Utc>, method: &str, path: &str, status: u64, micros: u64) -> String {
    let number = status.to_string();
    let status = match status {
        0..400 => green(&number),
        400..500 => yellow(&number),
        _ => red(&number),
    };
    let took = dim(&format!("{}.{} ms", micros / 1000, micros % 1000 / 100));
    format!("{} {status} {} {}  {took}\n", clock(at), printable(method), printable(path))
}

/// A log line of a script.
pub(crate) fn line(
    at: DateTime<Utc>,
    level: &str,
    location: &str,
    message: &str,
    data: Option<&str>,
) -> String {
    let level = match level {
        "error" => red(level),
        "warn" => yellow(level),
        "trace" => dim(level),
        _ => green(level),
    };
    let data = data.map(|data| format!("  {}", dim(&printable(data)))).unwrap_or_default();
    format!("{} {level} {}  {}{data}\n", clock(at), bold(&printable(location)), printable(message))
}

/// A failed execution with its source line.
pub(crate) fn failure(at: DateTime<Utc>, failure: Diagnostic) -> String {
    let text = diagnostics::render_styled(&failure.into(), 1);
    format!("{} {text}", clock(at))
}

/// Any other event of the node.
pub(crate) fn event(at: DateTime<Utc>, level: &str, message: &str) -> String {
    let level = if level == "error" { red(level) } else { yellow(level) };
    format!("{} {level} {}\n", clock(at), printable(message))
}

/// An event of a schedule.
pub(crate) fn schedule(at: DateTime<Utc>, name: &str, message: &str) -> String {
    format!("{} schedule {}  {}\n", clock(at), bold(&printable(name)), printable(message))
}

fn clock(at: DateTime<Utc>) -> String {
    dim(&at.format("%H:%M:%SZ").to_string())
}
