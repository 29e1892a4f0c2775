//! What verbs print.

use std::io::{self, Write as _};

use super::error::{CommandError, VerbError};
use crate::cli::PageOptions;
use crate::client::escaped;
use crate::words::{printable, shell_word};

/// Writes to standard output. A reader that has seen enough and left is no failure.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), CommandError> {
    match io::stdout().lock().write_all(text.as_ref()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(VerbError::Print(error).into()),
        _ => Ok(()),
    }
}

/// Says something to people: with the colours that it has, unless nobody would see them ([NO_COLOR](https://no-color.org) is
/// set, or standard output is no terminal).
pub(crate) fn say(text: impl AsRef<str>) -> Result<(), CommandError> {
    match anstream::stdout().lock().write_all(text.as_ref().as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(VerbError::Print(error).into()),
        _ => Ok(()),
    }
}

/// Prints what a server answered: as JSON for programs, or in `words` for people.
pub(crate) fn show<T: serde::Serialize>(
    answer: &T,
    json: bool,
    words: impl FnOnce(&T) -> String,
) -> Result<(), CommandError> {
    if json {
        print(format!("{}\n", serde_json::to_string_pretty(answer).map_err(VerbError::Json)?))
    } else {
        say(words(answer))
    }
}

/// The part of a list that is asked for, as the API is asked.
pub(super) fn page(options: &PageOptions) -> String {
    let before = options.before.as_ref().map(|before| format!("&cursor={}", escaped(before)));
    format!("limit={}{}", options.limit, before.unwrap_or_default())
}

/// How what comes after in a list is asked for, where anything does: as this was, and from there on.
pub(super) fn more(next: Option<&str>) -> String {
    let Some(next) = next else { return String::new() };
    format!("more with  {}\n", again(std::env::args().skip(1), next))
}

fn again(arguments: impl Iterator<Item = String>, next: &str) -> String {
    let mut arguments = arguments.peekable();
    let mut line = "picloud".to_owned();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--before") {
            Some("") => drop(arguments.next()),
            Some(value) if value.starts_with('=') => {}
            _ => line += &format!(" {}", shell_word(&printable(&argument))),
        }
    }
    format!("{line} --before {}", shell_word(&printable(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_asked_for_as_it_was() {
        let again = |line: &str| again(line.split(' ').map(str::to_owned), "7");
        assert_eq!(again("deploys --branch a'b -n 5"), r"picloud deploys --branch 'a'\''b' -n 5 --before 7");
        assert_eq!(again("audit --before 9 --app x"), "picloud audit --app x --before 7");
        assert_eq!(again("audit --before=9"), "picloud audit --before 7");
    }
}
