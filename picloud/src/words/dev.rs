//! What `picloud dev` says.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::name::AppName;
use platform::deploy::Planned;

use super::paint::{bold, dim, green, red, yellow};
use super::{diagnostic, printable, push, with_causes};

/// Where the app answers, and what else there is to know.
///
/// It is asked at `address`, of those that it listens to.
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
    let by_hand =
        format!("once by hand: PICLOUD_TOKEN=any picloud run NAME --url http://{address} --app {app}");
    let schedules = match schedules {
        true => format!("run; {by_hand}"),
        false => format!("do not run; --schedules runs them, and {by_hand}"),
    };
    format!(
        "PiCloud {version} serves {folder} until Ctrl-C, and again whenever a file is saved\n  \
           {app}  {url}  and as on a server  http://{address}/{app}/{local}\n  \
           schedules  {schedules}\n  \
           functions  PICLOUD_TOKEN=any picloud invoke NAME --url http://{address} --app {app}\n",
        version = env!("CARGO_PKG_VERSION"),
        folder = printable(&folder.display().to_string()),
        url = bold(&format!("http://{address}/")),
    )
}

/// What was saved is live.
pub(crate) fn live(first: bool, planned: &Planned, warnings: &Diagnostics, took: Duration) -> String {
    let word = if first { "serving" } else { "reloaded" };
    let word = green(&format!("{word} in {} ms", took.as_millis()));
    let changes = push::planned(planned);
    format!("{}{changes}{word}\n", diagnostic::painted(warnings, diagnostic::SHOWN_MAX))
}

/// What was saved is not served.
pub(crate) fn refused(diagnostics: &Diagnostics, something_is_live: bool) -> String {
    let problems = diagnostic::problems(diagnostics.errors(), diagnostics.errors_by_file().len());
    let rest =
        if something_is_live { "the last good save goes on answering" } else { "nothing is served yet" };
    format!(
        "{}{}: {problems}; {rest}\n",
        diagnostic::painted(diagnostics, diagnostic::SHOWN_MAX),
        red("error")
    )
}

/// A line of `.env` is none. What it holds may be secret, so that it is not shown.
pub(crate) fn malformed_env_file(line: Option<usize>) -> String {
    let place = line.map(|line| format!(":{line}")).unwrap_or_default();
    format!(
        "{}: .env{place} is not NAME=VALUE, with quotes around a value with spaces; nothing of the file is read\n",
        yellow("warning")
    )
}

/// `.env` cannot be read.
pub(crate) fn unread_env_file(why: &str) -> String {
    format!("{}: .env cannot be read: {}\n", yellow("warning"), printable(why))
}

/// The folder cannot be read.
pub(crate) fn unreadable(error: &dyn std::error::Error, something_is_live: bool) -> String {
    let rest = if something_is_live { "the last good save goes on answering" } else { "waiting for it" };
    format!("{}: {}; {rest}\n", red("error"), with_causes(error))
}

/// Changes are looked for, since the system does not tell of them.
pub(crate) fn unwatched(error: &notify::Error) -> String {
    let help = match error.kind {
        notify::ErrorKind::MaxFilesWatch => "\nhint: raise fs.inotify.max_user_watches (sysctl)",
        _ => "",
    };
    let why = printable(&error.to_string());
    format!("{}: cannot watch every folder ({why}); looking for changes instead{help}\n", yellow("warning"))
}

/// A request and what it was answered.
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

/// A line that a script wrote.
pub(crate) fn line(at: DateTime<Utc>, level: &str, place: &str, message: &str, data: Option<&str>) -> String {
    let level = match level {
        "error" => red(level),
        "warn" => yellow(level),
        "trace" => dim(level),
        _ => green(level),
    };
    let data = data.map(|data| format!("  {}", dim(&printable(data)))).unwrap_or_default();
    format!("{} {level} {}  {}{data}\n", clock(at), bold(&printable(place)), printable(message))
}

/// A run that failed, at its place in the script.
pub(crate) fn failure(at: DateTime<Utc>, failure: Diagnostic) -> String {
    let text = diagnostic::painted(&failure.into(), 1);
    format!("{} {text}", clock(at))
}

/// Anything else that the node has to say.
pub(crate) fn news(at: DateTime<Utc>, level: &str, message: &str) -> String {
    let level = if level == "error" { red(level) } else { yellow(level) };
    format!("{} {level} {}\n", clock(at), printable(message))
}

/// What a schedule did.
pub(crate) fn schedule(at: DateTime<Utc>, name: &str, message: &str) -> String {
    format!("{} schedule {}  {}\n", clock(at), bold(&printable(name)), printable(message))
}

fn clock(at: DateTime<Utc>) -> String {
    dim(&at.format("%H:%M:%SZ").to_string())
}
