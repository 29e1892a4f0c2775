//! The sentences that people read. Everything below speaks in values; here they become words.

pub(crate) mod addresses;
pub(crate) mod backup;
pub(crate) mod deploys;
pub(crate) mod dev;
pub(crate) mod diagnostic;
pub(crate) mod domains;
pub(crate) mod executions;
pub(crate) mod logs;
pub(crate) mod paint;
pub(crate) mod push;
pub(crate) mod schedules;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod when;

use store::StoreError;

/// Text from outside, with control characters made visible, so that it cannot move a cursor or forge a line. Bidirectional
/// controls are escaped too: they can make a line read differently from what it says.
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

/// A word as a shell reads it.
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

/// The beginning of a commit's name, as git shows it.
pub(crate) fn short_commit(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// A moment, in UTC, as tables show it.
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

/// What is said where nobody knows whether the database has committed.
pub(crate) const OUTCOME_UNKNOWN: &str = "the database went away before it said whether this was done";

/// What a failure of the store means for whoever asked. The cause is for the log.
pub(crate) fn store_failure(error: &StoreError) -> String {
    match error {
        StoreError::DiskFull => {
            "the database's disk is full; nothing was changed; make room on it and try again".to_owned()
        }
        StoreError::DiskFailed(_) => {
            "the database's disk failed; nothing was changed; the server's log has the cause".to_owned()
        }
        StoreError::OutcomeUnknown => {
            format!("{OUTCOME_UNKNOWN}; look whether it was before you try again")
        }
        error if error.is_unavailable() => format!("{}; try again in a moment", error.public_reason()),
        _ => "the server failed; its log has the cause".to_owned(),
    }
}

/// An error and what caused it, in one line. What an error says of its cause itself is not said twice.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(printable(&error.to_string()), |line, cause| {
        let cause = printable(&cause.to_string());
        if line.ends_with(&cause) { line } else { format!("{line}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_reads_a_word_as_it_was() {
        for (text, word) in
            [("a/b-1", "a/b-1"), ("My App", "'My App'"), ("it's", r"'it'\''s'"), ("", "''"), ("$x", "'$x'")]
        {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(printable("a\u{1b}[2Jb\rc\u{202e}d"), "a\\u{1b}[2Jb\\u{d}c\\u{202e}d");
        assert_eq!(printable("Grüße, 世界"), "Grüße, 世界");
    }
}
