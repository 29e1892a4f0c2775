//! Why a text is no cron expression, in words of the field that is wrong.

use crate::fault::{Suggestions, quoted};

use super::expression::{EXPRESSION_MAX, NICKNAMES};

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
    #[error("{} has {count} fields, must have 5, or 6 with seconds first", quoted(expression))]
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
        /// The same as two ranges that run forwards.
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
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Nickname { name } => {
                let near = Suggestions::default().nearest(name, NICKNAMES.iter().map(|(known, _)| *known));
                let known = || NICKNAMES.map(|(known, _)| known).join(", ");
                Some(near.map_or_else(
                    || format!("known are {}", known()),
                    |near| format!("did you mean `{near}`?"),
                ))
            }
            Self::Backwards { forwards, .. } => Some(format!("write `{forwards}`")),
            Self::Empty => Some("such as `*/5 * * * *`, every five minutes".to_owned()),
            _ => None,
        }
    }
}
