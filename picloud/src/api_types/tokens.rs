//! Types for tokens.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// All tokens, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<Token>,
}

/// Token metadata, without the secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Token {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// Scopes: each is `admin`, `metrics`, `status` or `APP:RIGHT`.
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) created_by: String,
    /// Expiry; null if the token does not expire.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// Last use, to the minute; null if unused.
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

/// A new token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    pub(crate) name: String,
    /// Scopes: each is `admin`, `metrics`, `status` or `APP:RIGHT[,RIGHT...]`.
    pub(crate) scopes: Vec<String>,
    /// Lifetime; null for no expiry.
    #[serde(default)]
    pub(crate) expires_in_seconds: Option<u64>,
}

/// A created token.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CreatedToken {
    /// The secret of the token, which is only returned here.
    pub(crate) secret: String,
    #[serde(flatten)]
    pub(crate) token: Token,
}
