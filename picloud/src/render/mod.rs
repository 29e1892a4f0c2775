//! Text output: all other modules return values, which are rendered to messages and tables here.

pub(crate) mod app_urls;
pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod deploys;
pub(crate) mod dev;
pub(crate) mod diagnostics;
pub(crate) mod domains;
pub(crate) mod executions;
pub(crate) mod kv;
pub(crate) mod limits;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod push;
pub(crate) mod schedules;
pub(crate) mod script_tests;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod tokens;
pub(crate) mod when;

use store::StoreError;

/// Escapes control characters in untrusted text, so that it cannot move the cursor or forge a line, and bidirectional controls,
/// which can reorder a line.
pub(crate) fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if hidden(c) {
            shown.extend(c.escape_unicode())
        } else {
            shown.push(c)
        }
        shown
    })
}

/// Quotes a word for a shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./~@%+=:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `1 script`, `2 scripts`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// `3 scripts, 1 library, 2 templates`: libraries and templates only if there are some.
pub(crate) fn counts(scripts: usize, libraries: usize, templates: usize) -> String {
    let mut text = count(scripts, "script");
    match libraries {
        0 => {}
        1 => text += ", 1 library",
        _ => text += &format!(", {libraries} libraries"),
    }
    if templates > 0 {
        text += &format!(", {}", count(templates, "template"));
    }
    text
}

/// The abbreviated commit id.
pub(crate) fn short_commit(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// A time in UTC.
pub(crate) fn time(time: chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `12 B`, `1.5 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// The message for an unknown outcome of a transaction.
pub(crate) const OUTCOME_UNKNOWN: &str = "lost the connection to the database before the result was known";

/// The message of a store error for clients, without its cause, which is logged.
pub(crate) fn store_failure(error: &StoreError) -> String {
    match error {
        StoreError::DiskFull => {
            "the disk of the database is full; nothing was changed; free space and try again".to_owned()
        }
        StoreError::DiskFailed(_) => {
            "the disk of the database failed; nothing was changed; see the log of the server".to_owned()
        }
        StoreError::OutcomeUnknown => {
            format!("{OUTCOME_UNKNOWN}; check the current state before you try again")
        }
        error if error.is_unavailable() => format!("{}; try again in a moment", error.public_reason()),
        _ => "internal error; see the log of the server".to_owned(),
    }
}

/// An error and its causes in one line, without repetition.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(printable(&error.to_string()), |line, cause| {
        let cause = printable(&cause.to_string());
        if line.ends_with(&cause) { line } else { format!("{line}: {cause}") }
    })
}

#[cfg(test)]
mod snapshots;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        for (text, word) in
            [("a/b-1", "a/b-1"), ("My App", "'My App'"), ("it's", r"'it'\''s'"), ("", "''"), ("$x", "'$x'")]
        {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\rc\u{202e}d"), "a\\u{1b}[2Jb\\u{d}c\\u{202e}d");
        assert_eq!(printable("Grüße, 世界"), "Grüße, 世界");
    }
}
