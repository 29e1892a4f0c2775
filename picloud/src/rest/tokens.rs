//! Tokens.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// All tokens, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<Token>,
}

/// A token, without what it is written as.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Token {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// What it may: each `admin`, `metrics`, `status` or `APP:WHAT`.
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) created_by: String,
    /// When it stops working; null: never.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// To the minute; null: never.
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

/// A token to be created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    pub(crate) name: String,
    /// Each `admin`, `metrics`, `status`, or `APP:WHAT` with several WHATs behind commas.
    pub(crate) scopes: Vec<String>,
    /// For how long it works; null: until it is revoked.
    #[serde(default)]
    pub(crate) expires_in_seconds: Option<u64>,
}

/// A token that was just created.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CreatedToken {
    /// The token itself, which is shown here and nowhere else.
    pub(crate) secret: String,
    #[serde(flatten)]
    pub(crate) token: Token,
}
