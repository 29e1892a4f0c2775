//! What is typed unseen, or comes from another program.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::error::{CommandError, VerbError};

/// The most bytes that are read; a server takes fewer.
const INPUT_MAX: u64 = 1024 * 1024;

/// What a terminal sends for these keys.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;
const BACKSPACE: [u8; 2] = [8, 127];

/// What standard input holds, without the line end that most programs write behind it. At a terminal it is asked for, and not shown.
pub(super) fn secret(prompt: &str) -> Result<String, CommandError> {
    let value = if io::stdin().is_terminal() { typed(prompt) } else { piped() };
    match value {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(VerbError::Stopped.into()),
        Err(error) => Err(VerbError::ReadInput(error).into()),
    }
}

fn piped() -> io::Result<Option<String>> {
    let mut value = String::new();
    io::stdin().lock().take(INPUT_MAX).read_to_string(&mut value)?;
    let end =
        value.strip_suffix('\n').map_or(value.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    value.truncate(end);
    Ok(Some(value))
}

/// The terminal as it was, which it is again when this is dropped.
struct Unseen(Termios);

impl Unseen {
    /// Shows nothing, and hands on each key: Ctrl-C, too, which would end this program before the terminal is as it was.
    fn begin() -> io::Result<Self> {
        let seen = tcgetattr(io::stdin())?;
        let mut unseen = seen.clone();
        unseen.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        // A read waits for one key, however long.
        unseen.special_codes[SpecialCodeIndex::VMIN] = 1;
        unseen.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(seen))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        eprintln!();
    }
}

/// A line that is typed; `None` where it is broken off.
fn typed(prompt: &str) -> io::Result<Option<String>> {
    let _unseen = Unseen::begin()?;
    // After the change: nothing that is typed at the prompt is shown.
    eprint!("{prompt}: ");
    io::stderr().flush()?;
    line(io::stdin().lock())
}

fn line(input: impl io::BufRead) -> io::Result<Option<String>> {
    let mut value = Vec::new();
    for key in input.take(INPUT_MAX).bytes() {
        match key? {
            b'\n' | b'\r' => break,
            CTRL_C => return Ok(None),
            CTRL_D if value.is_empty() => return Ok(None),
            CTRL_D => break,
            CTRL_U => value.clear(),
            key if BACKSPACE.contains(&key) => {
                // A character can be several bytes: all but the first begin with the bits 10.
                while value.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key => value.push(key),
        }
    }
    let text = String::from_utf8(value);
    text.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_they_do_at_a_prompt() {
        let typed = |keys: &str| line(keys.as_bytes()).unwrap();
        for (keys, value) in [
            ("abc\nrest", Some("abc")),
            ("abc\r", Some("abc")),
            ("ab\u{7f}c\u{8}d\n", Some("ad")),
            ("aü\u{7f}b\n", Some("ab")),
            ("\u{7f}a\n", Some("a")),
            ("abc\u{15}d\n", Some("d")),
            ("abc\u{4}", Some("abc")),
            ("\u{4}", None),
            ("abc\u{3}", None),
            ("", Some("")),
        ] {
            assert_eq!(typed(keys).as_deref(), value, "{keys:?}");
        }
    }
}
