//! Secrets from a hidden prompt or standard input.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::error::{CommandError, IoError};

/// The maximum number of bytes to read.
const INPUT_MAX: u64 = 1024 * 1024;

/// Key codes.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;
const BACKSPACE: [u8; 2] = [8, 127];

/// Reads a secret: at a terminal from a hidden prompt, otherwise from standard input without the final line end.
pub(super) fn secret(prompt: &str) -> Result<String, CommandError> {
    let value = if io::stdin().is_terminal() { read_hidden(prompt) } else { read_stdin() };
    match value {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(IoError::Interrupted.into()),
        Err(error) => Err(IoError::ReadInput(error).into()),
    }
}

fn read_stdin() -> io::Result<Option<String>> {
    let mut value = String::new();
    io::stdin().lock().take(INPUT_MAX).read_to_string(&mut value)?;
    let end =
        value.strip_suffix('\n').map_or(value.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    value.truncate(end);
    Ok(Some(value))
}

/// Disables the echo of the terminal and restores its settings when dropped.
struct EchoGuard(Termios);

impl EchoGuard {
    /// Also disables signals: Ctrl-C would end the process before the settings are restored.
    fn begin() -> io::Result<Self> {
        let original = tcgetattr(io::stdin())?;
        let mut hidden = original.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        // A read blocks until a key is pressed.
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(original))
    }
}

impl Drop for EchoGuard {
    fn drop(&mut self) {
        // The terminal can be closed.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        eprintln!();
    }
}

/// Reads a line; `None` after Ctrl-C or Ctrl-D.
fn read_hidden(prompt: &str) -> io::Result<Option<String>> {
    let _guard = EchoGuard::begin()?;
    // Only after disabling the echo.
    eprint!("{prompt}: ");
    io::stderr().flush()?;
    read_line(io::stdin().lock())
}

fn read_line(input: impl io::BufRead) -> io::Result<Option<String>> {
    let mut value = Vec::new();
    for key in input.take(INPUT_MAX).bytes() {
        match key? {
            b'\n' | b'\r' => break,
            CTRL_C => return Ok(None),
            CTRL_D if value.is_empty() => return Ok(None),
            CTRL_D => break,
            CTRL_U => value.clear(),
            key if BACKSPACE.contains(&key) => {
                // UTF-8 continuation bytes start with the bits 10.
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
    fn control_keys_edit_the_line() {
        let typed = |keys: &str| read_line(keys.as_bytes()).unwrap();
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
