//! Why nothing is begun.

use std::io;
use std::path::PathBuf;

use manifest_schema::diagnostic::Diagnostics;
use platform::limits::LimitRangeError;

use super::secrets::SecretError;
use crate::words::diagnostic::{self, SHOWN_MAX};
use crate::words::{count, printable, with_causes};

/// Why nothing is begun.
#[derive(Debug)]
pub(crate) enum Misuse {
    /// The command line or the environment; clap has the words.
    Flags(clap::Error),
    /// No verb, but a word of other platforms for what is done otherwise here.
    Habit { word: String, here: &'static str },
    /// The file.
    File(Diagnostics),
    /// The file is named and cannot be read.
    Unreadable { path: PathBuf, source: io::Error },
    /// A variable that is none of ours and resembles one.
    Variable { name: String, near: String },
    /// What holds a secret cannot be read.
    Secret(SecretError),
    /// The control plane is not at the URL that people are to use.
    PublicUrl { url: String, domain: String },
    /// A limit of every app cannot have such a value.
    AppLimit(LimitRangeError),
}

impl From<SecretError> for Misuse {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

impl Misuse {
    /// What is said of it. What clap has to say it says itself.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Flags(error) => error.to_string(),
            Self::Habit { word, here } => {
                format!("error: there is no `picloud {}`\nhint: {here}\n", printable(word))
            }
            Self::File(diagnostics) => {
                let wrong = count(diagnostics.errors(), "wrong setting");
                format!("{}error: {wrong}\n", diagnostic::list(diagnostics, SHOWN_MAX))
            }
            Self::Unreadable { path, source } => {
                let path = printable(&path.display().to_string());
                format!("error: cannot read the settings {path}: {}\n", with_causes(source))
            }
            Self::Variable { name, near } => {
                format!("error: unknown variable {}\nhint: did you mean `{near}`?\n", printable(name))
            }
            Self::PublicUrl { url, domain } => format!(
                "error: --public-url is {}, and with --domain the server answers at {} only\nhint: leave --public-url out, or set it to \
                 https://{}\n",
                printable(url),
                printable(domain),
                printable(domain)
            ),
            Self::AppLimit(error) => format!("error: --app-{error}\n"),
            Self::Secret(error) => format!("error: {}\n", with_causes(error)),
        }
    }
}
