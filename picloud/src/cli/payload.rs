//! JSON arguments.

use std::str::FromStr;

use serde::de::IgnoredAny;

/// The argument of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The JSON text.
    Json(String),
    /// From standard input.
    Stdin,
}

impl FromStr for Payload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(Self::Json(text.to_owned())),
            Err(error) => {
                Err(format!("invalid JSON: {error}; strings need quotation marks, as in '\"Ann\"'"))
            }
        }
    }
}
