//! Errors in cron expressions.

use crate::diagnostic::{Suggestions, quoted};

use super::expression::{EXPRESSION_MAX, NICKNAMES};
use super::suggestion::suggest;

/// The reason why a cron expression is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It is empty.
    #[error("the cron expression is empty")]
    Empty,
    /// It is longer than [`EXPRESSION_MAX`].
    #[error("the cron expression is longer than {EXPRESSION_MAX} bytes")]
    TooLong,
    /// It has the wrong number of fields.
    #[error("{} has {count} field{}, must have 5, or 6 with seconds first", quoted(expression), if *count == 1 { "" } else { "s" })]
    FieldCount {
        /// The whole expression.
        expression: String,
        /// The number of fields.
        count: usize,
    },
    /// It begins with `@` but is not a nickname.
    #[error("{} is not a nickname of a cron expression", quoted(name))]
    Nickname {
        /// The unknown nickname.
        name: String,
    },
    /// A number is out of the range of its field.
    #[error("{what} {number} in {} is out of range {low}-{high}", quoted(expression))]
    OutOfRange {
        /// The field, or its step.
        what: String,
        /// The number as written.
        number: String,
        /// The whole expression.
        expression: String,
        /// The minimum.
        low: u16,
        /// The maximum.
        high: u16,
    },
    /// A range with its end before its start.
    #[error("{what} range {} in {} ends before it starts", quoted(range), quoted(expression))]
    Backwards {
        /// The field.
        what: &'static str,
        /// The range as written.
        range: String,
        /// The whole expression.
        expression: String,
        /// The equivalent ascending ranges.
        forwards: String,
    },
    /// Not a `*`, number, range, list or step.
    #[error("{what} {} in {} is not {wanted}", quoted(part), quoted(expression))]
    Malformed {
        /// The field.
        what: &'static str,
        /// The malformed part.
        part: String,
        /// The whole expression.
        expression: String,
        /// The valid forms of the field.
        wanted: &'static str,
    },
    /// None of its months has one of its days.
    #[error("{} is never due: none of its months has such a day", quoted(expression))]
    Never {
        /// The whole expression.
        expression: String,
    },
}

impl CronError {
    /// How to fix it, beyond the message.
    pub fn help(&self) -> Option<String> {
        if let Some(expression) = self.expression().and_then(suggest) {
            return Some(format!("write `{expression}`"));
        }
        match self {
            Self::Nickname { name } if name.starts_with("@every") => Some(
                "such as `*/5 * * * *`, every five minutes: only divisors of a minute, an hour or a day have an expression"
                    .to_owned(),
            ),
            Self::Nickname { name } => {
                let near = Suggestions::default().nearest(name, NICKNAMES.iter().map(|(known, _)| *known));
                let known = || NICKNAMES.map(|(known, _)| known).join(", ");
                Some(near.map_or_else(
                    || format!("expected one of {}", known()),
                    |near| format!("did you mean `{near}`?"),
                ))
            }
            Self::Backwards { range, expression, forwards, .. } => {
                Some(format!("write `{}`", expression.replacen(range.as_str(), forwards, 1)))
            }
            Self::Empty => Some("such as `*/5 * * * *`, every five minutes".to_owned()),
            Self::FieldCount { .. } => Some("such as `*/5 * * * *`, every five minutes".to_owned()),
            _ => None,
        }
    }

    /// The expression, for errors with a suggestion.
    fn expression(&self) -> Option<&str> {
        match self {
            Self::Nickname { name: expression }
            | Self::FieldCount { expression, .. }
            | Self::OutOfRange { expression, .. }
            | Self::Malformed { expression, .. } => Some(expression),
            Self::Empty | Self::TooLong | Self::Backwards { .. } | Self::Never { .. } => None,
        }
    }
}
