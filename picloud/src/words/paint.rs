//! Colours. Words carry them, and they are taken out where nobody would see them: see `commands::say`. What stands between
//! the colours has no control characters of its own ([`super::printable`]).

use anstyle::{AnsiColor, Style};

/// The names of columns, and what is to be found at a glance.
pub(crate) fn bold(text: &str) -> String {
    painted(Style::new().bold(), text)
}

/// What is only there for whoever looks for it.
pub(crate) fn dim(text: &str) -> String {
    painted(Style::new().dimmed(), text)
}

/// What went well.
pub(crate) fn green(text: &str) -> String {
    painted(AnsiColor::Green.on_default(), text)
}

/// What is worth a look.
pub(crate) fn yellow(text: &str) -> String {
    painted(AnsiColor::Yellow.on_default(), text)
}

/// What went wrong.
pub(crate) fn red(text: &str) -> String {
    painted(AnsiColor::Red.on_default(), text)
}

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
