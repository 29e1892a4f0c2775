//! Tokens, as they are kept.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::audit::Act;
use crate::column::{Id, TokenHash};
use crate::error::StoreError;
use crate::{Store, either};

/// A token that works. The token itself is not in it.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Token {
    /// What it is known by.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// What people call it; no two have the same name.
    pub name: String,
    /// The SHA-256 of the token.
    #[sqlx(try_from = "TokenHash")]
    pub hash: [u8; 32],
    /// What it may, with a space between one and the next.
    pub scopes: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// When it stops working.
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
    /// Keeps a token. `false`: another one has its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_token(&self, token: &Token, act: &Act) -> Result<bool, StoreError> {
        either!(self, tokens::create_token(token, act))
    }

    /// The token whose SHA-256 is `hash`, whether it has expired or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn token(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        either!(self, tokens::token(hash))
    }

    /// The token of that id, whether it has expired or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn token_of(&self, id: Uuid) -> Result<Option<Token>, StoreError> {
        either!(self, tokens::token_of(id))
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        either!(self, tokens::tokens())
    }

    /// Ends a token. `false`: there is none with this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revoke_token(&self, id: Uuid, act: &Act) -> Result<bool, StoreError> {
        either!(self, tokens::revoke_token(id, act))
    }

    /// Remembers that a token was used, unless that is known of the time just before.
    ///
    /// # Errors
    /// The database failed.
    pub async fn token_used(&self, id: Uuid, now: DateTime<Utc>, every: TimeDelta) -> Result<(), StoreError> {
        either!(self, tokens::token_used(id, now, every))
    }
}
