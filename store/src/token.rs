//! API tokens.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::audit::AuditEvent;
use crate::error::StoreError;
use crate::sql_types::{Id, TokenHash};
use crate::{Store, dispatch};

/// A valid token, without its plain text.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Token {
    /// Its id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// Its unique name.
    pub name: String,
    /// The SHA-256 of the token.
    #[sqlx(try_from = "TokenHash")]
    pub hash: [u8; 32],
    /// Its scopes, separated by spaces.
    pub scopes: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Who created it.
    pub created_by: String,
    /// When it expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Store {
    /// Creates a token. `false`: the name is taken.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_token(&self, token: &Token, event: &AuditEvent) -> Result<bool, StoreError> {
        dispatch!(self, tokens::create_token(token, event))
    }

    /// Finds a token by its SHA-256, expired or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn token(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        dispatch!(self, tokens::token(hash))
    }

    /// Finds a token by id, expired or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn token_by_id(&self, id: Uuid) -> Result<Option<Token>, StoreError> {
        dispatch!(self, tokens::token_by_id(id))
    }

    /// All tokens, sorted by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        dispatch!(self, tokens::tokens())
    }

    /// Revokes a token. `false`: no token has this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revoke_token(&self, id: Uuid, event: &AuditEvent) -> Result<bool, StoreError> {
        dispatch!(self, tokens::revoke_token(id, event))
    }

    /// Records that a token was used, at most once in `every`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn touch_token(
        &self,
        id: Uuid,
        now: DateTime<Utc>,
        every: TimeDelta,
    ) -> Result<(), StoreError> {
        dispatch!(self, tokens::touch_token(id, now, every))
    }
}
