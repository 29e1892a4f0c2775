//! The versions of the SDK contract between scripts and the server.

use std::fmt;

/// The contract of the newest SDK version, with its patch: what `runtime/tests/sdk_contract.rs` pins, and
/// `runtime/tests/sdk_1_2.rs` of SDK 1.2. It is raised whenever
/// that file changes, together with a line in `docs/versioning.md`; scripts see the first two numbers only.
pub const CONTRACT: &str = "1.2.1";

/// A version of the SDK that this server speaks. A manifest names one, and its scripts see exactly that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SdkVersion {
    /// `ctx`, the response convention, `log`.
    V1_0,
    /// Adds `ctx.request.rest`.
    V1_1,
    /// Adds `ctx.env` and `ctx.secrets`, with `[env]` and `[secrets]` in the manifest.
    V1_2,
    /// A draft: `ctx.env` and `ctx.secrets` of declared names only, and checks that are stricter than those of the versions before.
    V1_3,
}

impl SdkVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 4] = [Self::V1_0, Self::V1_1, Self::V1_2, Self::V1_3];

    /// The newest version that is no draft.
    pub const NEWEST: Self = Self::V1_2;

    /// The version written as `text`, such as `1.1`, if this server speaks it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The version as scripts see it in `ctx.sdk_version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }

    /// Whether its contract can change still. It is final with PiCloud 0.1.0.
    pub fn is_draft(self) -> bool {
        self > Self::NEWEST
    }
}

impl fmt::Display for SdkVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
