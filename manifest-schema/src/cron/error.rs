//! Why a text is no cron expression, in words of the field that is wrong.

use crate::diagnostic::{Suggestions, quoted};

use super::expression::{EXPRESSION_MAX, NICKNAMES};
use super::meant::meant;

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Nothing is there.
    #[error("the cron expression is empty")]
    Empty,
    /// It is longer than any sensible one.
    #[error("the cron expression is longer than {EXPRESSION_MAX} bytes")]
    TooLong,
    /// It has too few or too many fields.
    #[error("{} has {count} field{}, must have 5, or 6 with seconds first", quoted(expression), if *count == 1 { "" } else { "s" })]
    FieldCount {
        /// The whole expression.
        expression: String,
        /// How many fields it has.
        count: usize,
    },
    /// It begins with `@` and is no nickname.
    #[error("{} is not a nickname of a cron expression", quoted(name))]
    Nickname {
        /// The unknown nickname.
        name: String,
    },
    /// A number is out of the range of its field.
    #[error("{what} {number} in {} is out of range {low}-{high}", quoted(expression))]
    OutOfRange {
        /// The field, or the step in it.
        what: String,
        /// The number as it is written.
        number: String,
        /// The whole expression.
        expression: String,
        /// The least number.
        low: u16,
        /// The greatest number.
        high: u16,
    },
    /// A range ends before it begins.
    #[error("{what} range {} in {} runs backwards", quoted(range), quoted(expression))]
    Backwards {
        /// The field.
        what: &'static str,
        /// The range as it is written.
        range: String,
        /// The whole expression.
        expression: String,
        /// The same as ranges that run forwards.
        forwards: String,
    },
    /// Something else than `*`, a number, a range, a list or a step.
    #[error("{what} {} in {} is not {wanted}", quoted(part), quoted(expression))]
    Malformed {
        /// The field.
        what: &'static str,
        /// What is malformed.
        part: String,
        /// The whole expression.
        expression: String,
        /// What the field takes.
        wanted: &'static str,
    },
    /// No month that it names has a day that it names.
    #[error("{} is never due: no month in it has such a day", quoted(expression))]
    Never {
        /// The whole expression.
        expression: String,
    },
}

impl CronError {
    /// What to do, where there is something to say beyond the rule.
    pub fn help(&self) -> Option<String> {
        if let Some(meant) = self.expression().and_then(meant) {
            return Some(format!("write `{meant}`"));
        }
        match self {
            Self::Nickname { name } if name.starts_with("@every") => Some(
                "such as `*/5 * * * *`, every five minutes: only what divides a minute, an hour or a day evenly has an expression"
                    .to_owned(),
            ),
            Self::Nickname { name } => {
                let near = Suggestions::default().nearest(name, NICKNAMES.iter().map(|(known, _)| *known));
                let known = || NICKNAMES.map(|(known, _)| known).join(", ");
                Some(near.map_or_else(
                    || format!("known are {}", known()),
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

    /// The whole text, where it is short enough to be looked at.
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
