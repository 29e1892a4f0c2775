//! Validated names. Each is validated once, on input.

mod domain;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use domain::DomainName;

/// An invalid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{}` {rule}", name.escape_debug())]
pub struct NameError {
    what: &'static str,
    name: String,
    rule: &'static str,
}

impl NameError {
    /// The rule that the name breaks, as the end of a sentence: `must be …`.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    fn new(what: &'static str, name: &str, rule: &'static str) -> Self {
        Self { what, name: name.chars().take(80).collect(), rule }
    }
}

const APP_RULE: &str =
    "must be 1 to 40 characters of a-z, 0-9 and `-`, begin with a letter and not end with `-`";

/// The name of an app, in the repository's URL and in hosts: `[a-z][a-z0-9-]{0,38}[a-z0-9]` or one letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(String);

impl AppName {
    /// Validates an app name.
    ///
    /// # Errors The name breaks the rule.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let characters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let begins = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if characters && begins && !name.ends_with('-') && name.len() <= 40 {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::new("app name", name, APP_RULE))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For command-line arguments.
impl FromStr for AppName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

const JOB_RULE: &str = "must be 1 to 60 characters of a-z, A-Z, 0-9, `-` and `_`, and begin with a letter";

/// The name of a schedule, a function or a check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(String);

impl JobName {
    /// Validates the name of a schedule or a function.
    ///
    /// # Errors The name breaks the rule.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let characters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let begins = name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
        if characters && begins && name.len() <= 60 {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::new("name", name, JOB_RULE))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For command-line arguments.
impl FromStr for JobName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

const SETTING_RULE: &str = "must be 1 to 64 characters of A-Z, 0-9 and `_`, and begin with a letter";

/// The name of a setting in `[env]` or of a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingName(String);

impl SettingName {
    /// Validates the name of a setting.
    ///
    /// # Errors The name breaks the rule.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let characters = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let begins = name.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
        if characters && begins && name.len() <= 64 {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::new("name", name, SETTING_RULE))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For command-line arguments.
impl FromStr for SettingName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const SCRIPT_RULE: &str = "must be a relative path within the repository that ends in `.rhai`";

/// The path of a script in its repository, such as `jobs/tick.rhai`: segments separated by `/`, none of them `.` or
/// `..`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptPath(Arc<str>);

impl ScriptPath {
    /// Maximum length in bytes.
    pub const MAX: usize = 255;

    /// Validates a script path.
    ///
    /// # Errors The path breaks the rule.
    pub fn new(path: &str) -> Result<Self, NameError> {
        let parts_are_plain =
            path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']));
        match path.strip_suffix(".rhai") {
            Some(stem)
                if parts_are_plain && !stem.is_empty() && !stem.ends_with('/') && path.len() <= Self::MAX =>
            {
                Ok(Self(path.into()))
            }
            _ => Err(NameError::new("script", path, SCRIPT_RULE)),
        }
    }

    /// The path as text, with `.rhai`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without `.rhai`, as scripts read it in `ctx.script_name`.
    pub fn stem(&self) -> &str {
        self.0.strip_suffix(".rhai").unwrap_or(&self.0)
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ScriptPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_are_validated() {
        for good in ["a", "hello", "a1", "my-app-2", &"a".repeat(40)] {
            assert!(AppName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "1a", "A", "a_b", "a.b", "ü", "a/b", &"a".repeat(41)] {
            assert!(AppName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn script_paths_are_within_the_repository() {
        for good in ["a.rhai", "jobs/tick.rhai", "a.b/c-d.rhai"] {
            assert!(ScriptPath::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".rhai",
            "a",
            "a.txt",
            "/a.rhai",
            "../a.rhai",
            "a/../b.rhai",
            "a//b.rhai",
            "a/.rhai",
            "a\\b.rhai",
        ] {
            assert!(ScriptPath::new(bad).is_err(), "{bad}");
        }
    }
}
