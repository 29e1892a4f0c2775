//! The versions of the SDK contract between scripts and the server.

use std::fmt;

/// The contract version of the newest SDK, with its patch. `runtime/tests/sdk_contract.rs` and
/// `runtime/tests/sdk_1_2.rs` pin the contract; a change to them raises it, together with an entry in
/// `docs/versioning.md`. Scripts only see the first two numbers.
pub const CONTRACT: &str = "1.2.2";

/// A supported SDK version. A manifest declares one, and its scripts run with exactly that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SdkVersion {
    /// `ctx`, the response convention, `log`.
    V1_0,
    /// Adds `ctx.request.rest`.
    V1_1,
    /// Adds `ctx.env` and `ctx.secrets`, with `[env]` and `[secrets]` in the manifest.
    V1_2,
    /// A draft: `ctx.env` and `ctx.secrets` only have declared names, and the checks are stricter.
    V1_3,
}

impl SdkVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 4] = [Self::V1_0, Self::V1_1, Self::V1_2, Self::V1_3];

    /// The newest stable version.
    pub const NEWEST: Self = Self::V1_2;

    /// Parses a version such as `1.1`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The version as scripts read it in `ctx.sdk_version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }

    /// Whether its contract can still change. It becomes stable with PiCloud 0.1.0.
    pub fn is_draft(self) -> bool {
        self > Self::NEWEST
    }
}

impl fmt::Display for SdkVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
