//! Colors. `commands::print_styled` removes them if standard output is not a terminal. The styled text has no control characters
//! ([`super::printable`]).

use anstyle::{AnsiColor, Style};

/// Column names and highlights.
pub(crate) fn bold(text: &str) -> String {
    styled(Style::new().bold(), text)
}

/// Details.
pub(crate) fn dim(text: &str) -> String {
    styled(Style::new().dimmed(), text)
}

/// Success.
pub(crate) fn green(text: &str) -> String {
    styled(AnsiColor::Green.on_default(), text)
}

/// Warnings.
pub(crate) fn yellow(text: &str) -> String {
    styled(AnsiColor::Yellow.on_default(), text)
}

/// Errors.
pub(crate) fn red(text: &str) -> String {
    styled(AnsiColor::Red.on_default(), text)
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
