//! What verbs print.

use std::io::{self, Write as _};

use super::error::{CommandError, VerbError};

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
