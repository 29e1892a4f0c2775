//! The versions of the SDK contract between scripts and the server.

use std::fmt;

/// The contract of the newest SDK version, with its patch: what `runtime/tests/sdk_contract.rs` pins. It is raised whenever
/// that file changes, together with a line in `docs/versioning.md`; scripts see the first two numbers only.
pub const CONTRACT: &str = "1.1.0";

/// A version of the SDK that this server speaks. A manifest names one, and its scripts see exactly that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SdkVersion {
    /// `ctx`, the response convention, `log`.
    V1_0,
    /// Adds `ctx.request.rest`.
    V1_1,
}

impl SdkVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 2] = [Self::V1_0, Self::V1_1];

    /// The newest version.
    pub const NEWEST: Self = Self::V1_1;

    /// The version written as `text`, such as `1.1`, if this server speaks it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The version as scripts see it in `ctx.sdk_version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
        }
    }
}

impl fmt::Display for SdkVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
