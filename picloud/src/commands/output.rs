//! Output of commands.

use std::io::{self, Write as _};

use super::error::{CommandError, IoError};
use crate::cli::PageArgs;
use crate::client::percent_encode;
use crate::render::{printable, shell_word};

/// Writes to standard output. A closed pipe is not an error.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), CommandError> {
    match io::stdout().lock().write_all(text.as_ref()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(IoError::Print(error).into()),
        _ => Ok(()),
    }
}

/// Writes text to standard output, with colors unless [NO_COLOR](https://no-color.org) is set or standard output is not a
/// terminal.
pub(crate) fn print_styled(text: impl AsRef<str>) -> Result<(), CommandError> {
    match anstream::stdout().lock().write_all(text.as_ref().as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(IoError::Print(error).into()),
        _ => Ok(()),
    }
}

/// Prints a response as JSON or as text.
pub(crate) fn show<T: serde::Serialize>(
    response: &T,
    json: bool,
    render: impl FnOnce(&T) -> String,
) -> Result<(), CommandError> {
    if json {
        print(format!("{}\n", serde_json::to_string_pretty(response).map_err(IoError::Json)?))
    } else {
        print_styled(render(response))
    }
}

/// The query parameters of a page.
pub(super) fn page_query(options: &PageArgs) -> String {
    let before = options.before.as_ref().map(|before| format!("&cursor={}", percent_encode(before)));
    format!("limit={}{}", options.limit, before.unwrap_or_default())
}

/// The command line for the next page, if there is one.
pub(super) fn next_page_hint(next: Option<&str>) -> String {
    next_page_hint_with("--before", next)
}

/// The same where the page begins with another flag.
pub(super) fn next_page_hint_with(flag: &str, next: Option<&str>) -> String {
    let Some(next) = next else { return String::new() };
    format!("hint: next page with  {}\n", with_cursor(std::env::args().skip(1), flag, next))
}

fn with_cursor(arguments: impl Iterator<Item = String>, flag: &str, next: &str) -> String {
    let mut arguments = arguments.peekable();
    let mut line = "picloud".to_owned();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix(flag) {
            Some("") => drop(arguments.next()),
            Some(value) if value.starts_with('=') => {}
            _ => line += &format!(" {}", shell_word(&printable(&argument))),
        }
    }
    format!("{line} {flag} {}", shell_word(&printable(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_keeps_other_arguments() {
        let next_with = |flag, line: &str| with_cursor(line.split(' ').map(str::to_owned), flag, "7");
        let next = |line| next_with("--before", line);
        assert_eq!(next("deploys --branch a'b -n 5"), r"picloud deploys --branch 'a'\''b' -n 5 --before 7");
        assert_eq!(next("audit --before 9 --app x"), "picloud audit --app x --before 7");
        assert_eq!(next("audit --before=9"), "picloud audit --before 7");
        assert_eq!(next_with("--after", "kv list --before 9"), "picloud kv list --before 9 --after 7");
    }
}
