//! Errors of usage: the command line, the environment, the config file.

use std::io;
use std::path::PathBuf;

use manifest_schema::diagnostic::Diagnostics;
use platform::limits::LimitRangeError;

use super::secrets::SecretError;
use crate::render::diagnostics::{self, SHOWN_MAX};
use crate::render::{count, printable, with_causes};

/// An error of usage.
#[derive(Debug)]
pub(crate) enum UsageError {
    /// clap rejected the command line or the environment.
    Flags(clap::Error),
    /// An unknown command that other platforms have.
    Habit { word: String, help: &'static str },
    /// A flag or a variable of an earlier version.
    Removed { name: String, replacement: String },
    /// The config file has errors.
    File(Diagnostics),
    /// The config file cannot be read.
    Unreadable { path: PathBuf, source: io::Error },
    /// An unknown variable whose name is similar to that of a known one.
    Variable { name: String, near: String },
    /// A secret cannot be read.
    Secret(SecretError),
    /// The host of the public URL is not the domain.
    PublicUrl { url: String, domain: String },
    /// A default limit of apps is out of range.
    AppLimit(LimitRangeError),
}

impl From<SecretError> for UsageError {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

impl UsageError {
    /// The message, with hints.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Flags(error) => error.to_string(),
            Self::Habit { word, help } => {
                format!("error: unknown command `picloud {}`\nhint: {help}\n", printable(word))
            }
            Self::Removed { name, replacement } => {
                format!("error: {} was removed\nhint: replace it with  {replacement}\n", printable(name))
            }
            Self::File(diagnostics) => {
                let invalid = count(diagnostics.errors(), "invalid setting");
                format!("{}error: {invalid}\n", diagnostics::render(diagnostics, SHOWN_MAX))
            }
            Self::Unreadable { path, source } => {
                let path = printable(&path.display().to_string());
                format!("error: cannot read the config file {path}: {}\n", with_causes(source))
            }
            Self::Variable { name, near } => {
                format!("error: unknown variable {}\nhint: did you mean `{near}`?\n", printable(name))
            }
            Self::PublicUrl { url, domain } => format!(
                "error: the host of --public-url {} is not the --domain {}\nhint: omit --public-url, or set it to https://{}\n",
                printable(url),
                printable(domain),
                printable(domain)
            ),
            Self::AppLimit(error) => format!("error: --app-{error}\n"),
            Self::Secret(error) => format!("error: {}\n", with_causes(error)),
        }
    }
}
