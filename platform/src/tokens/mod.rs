//! Authentication and rights: the admin token, and tokens with scopes.
//!
//! - [`admin`]: the token that grants everything and needs no database
//! - `secret`: the format of tokens, and their stored hash
//! - [`scope`]: rights, and the scopes that grant them
//!
//! [`Tokens::authenticate`] turns a token into a [`Caller`], whose rights are checked with [`Caller::can`].

pub mod admin;
pub mod scope;
mod secret;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::AppName;
use store::{AuditAction, AuditEvent, Store, StoreError};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::clock::Clock;

pub use admin::{AdminToken, Origin, TOKEN_MAX, TOKEN_MIN, TokenError};
pub use scope::{NodeRight, Right, ScopeError, Scopes};
pub use store::{Actor, Token};

/// The interval at which the use of a token is recorded.
const LAST_USED_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// The maximum length of a token's name, and of a name claimed with the admin token, in characters.
const NAME_CHARS_MAX: usize = 64;

/// The name of callers with the admin token that claim none.
const DEFAULT_ADMIN_NAME: &str = "admin";

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of the token, or the name claimed with the admin token.
    pub name: String,
    /// The token; `None`: the admin token.
    pub token: Option<Uuid>,
    scopes: Scopes,
}

impl Caller {
    /// A caller with the admin token who claims `name`.
    pub fn admin(name: String) -> Self {
        Self { name, token: None, scopes: Scopes::admin() }
    }

    /// Whether the caller has a right on `app`.
    pub fn can(&self, right: Right, app: &AppName) -> bool {
        self.scopes.allow(right, app)
    }

    /// Whether the caller has a right on every app.
    pub fn can_on_every_app(&self, right: Right) -> bool {
        self.scopes.allow_everywhere(right)
    }

    /// Whether the caller has a right on the node.
    pub fn can_on_node(&self, right: NodeRight) -> bool {
        self.scopes.allow_on_node(right)
    }

    /// Whether the caller has all rights.
    pub fn is_admin(&self) -> bool {
        self.scopes.is_admin()
    }

    /// Whether the caller has any right on the app, and can see that it exists.
    pub fn can_see(&self, app: &AppName) -> bool {
        self.scopes.can_see(app)
    }

    /// The actor in the history.
    pub fn actor(&self, address: Option<String>, request: Option<Uuid>) -> Actor {
        Actor { name: self.name.clone(), token: self.token, address, request }
    }
}

/// Why authentication failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token does not exist.
    #[error("invalid token")]
    Invalid,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token cannot be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a token was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    /// The name is invalid.
    #[error(
        "a token name must be 1 to {NAME_CHARS_MAX} characters of a-z, A-Z, 0-9, `.`, `_`, `@` and `-`, and begin with a letter or digit"
    )]
    Name,
    /// The name is taken.
    #[error("a token with this name exists; revoke it first, or choose another name")]
    Taken,
    /// The lifetime is not positive.
    #[error("the lifetime of a token must be positive")]
    Lifetime,
    /// The OS provides no random bytes.
    #[error("cannot get random bytes from the OS: {0}")]
    Random(getrandom::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    store: Store,
    admin: AdminToken,
    clock: Clock,
}

impl Tokens {
    /// Creates the set of tokens in `store`, which expire by `clock`, and the admin token.
    pub fn new(store: Store, admin: AdminToken, clock: Clock) -> Self {
        Self { store, admin, clock }
    }

    /// Whether `text` is the admin token or has the format of tokens. Needs no database.
    pub fn is_token(&self, text: &str) -> bool {
        (TOKEN_MIN..=TOKEN_MAX).contains(&text.len())
            && (secret::is_well_formed(text) || self.admin.matches(text))
    }

    /// Authenticates a token; callers with the admin token have the name they claim. Malformed tokens are
    /// rejected without the database; results are not cached, so that a revocation takes effect immediately.
    ///
    /// # Errors
    /// The token is invalid or expired, or the store failed.
    pub async fn authenticate(&self, offered: &str, claimed_name: &str) -> Result<Caller, AuthError> {
        if offered.len() > TOKEN_MAX {
            return Err(AuthError::Invalid);
        }
        if self.admin.matches(offered) {
            let claimed_name = claimed_name.trim();
            // Clients and users can put a token into the name field, and names are visible to others.
            let is_name = !claimed_name.is_empty() && !self.contains_token(claimed_name);
            let name = if is_name {
                claimed_name.chars().take(NAME_CHARS_MAX).collect()
            } else {
                DEFAULT_ADMIN_NAME.to_owned()
            };
            return Ok(Caller::admin(name));
        }
        if !secret::is_well_formed(offered) {
            return Err(AuthError::Invalid);
        }
        let hash = secret::hash(offered);
        let found = self.store.token(&hash).await?;
        let token = found.filter(|token| token.hash.ct_eq(&hash).into()).ok_or(AuthError::Invalid)?;
        let now = self.clock.now();
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(AuthError::Expired);
        }
        self.record_use(&token, now);
        Ok(Caller { name: token.name, token: Some(token.id), scopes: Scopes::from_stored(&token.scopes) })
    }

    /// Authenticates a caller again. `None`: the token was revoked or has expired.
    ///
    /// # Errors
    /// The token cannot be looked up.
    pub async fn reauthenticate(&self, caller: &Caller) -> Result<Option<Caller>, StoreError> {
        let Some(id) = caller.token else { return Ok(Some(caller.clone())) };
        let now = self.clock.now();
        let found = self.store.token_by_id(id).await?;
        let valid = found.filter(|token| token.expires_at.is_none_or(|end| end > now));
        Ok(valid.map(|token| Caller {
            name: token.name,
            token: Some(id),
            scopes: Scopes::from_stored(&token.scopes),
        }))
    }

    /// Whether a text contains the admin token or anything in the format of tokens.
    fn contains_token(&self, text: &str) -> bool {
        secret::is_contained_in(text) || text.contains(self.admin.expose())
    }

    /// Records the use of a token in the background.
    fn record_use(&self, token: &Token, now: DateTime<Utc>) {
        if token.last_used_at.is_some_and(|last| last > now - LAST_USED_INTERVAL) {
            return;
        }
        let (store, id) = (self.store.clone(), token.id);
        tokio::spawn(async move {
            if let Err(error) = store.touch_token(id, now, LAST_USED_INTERVAL).await {
                tracing::warn!(%error, "cannot record the use of a token");
            }
        });
    }

    /// Creates a token that is valid for `lifetime`, or until it is revoked. The token itself is returned as
    /// the second value and not stored.
    ///
    /// # Errors
    /// The name is taken or invalid, or the store failed.
    pub async fn create(
        &self,
        name: &str,
        scopes: &Scopes,
        lifetime: Option<TimeDelta>,
        by: &Actor,
    ) -> Result<(Token, String), CreateTokenError> {
        if !is_name(name) {
            return Err(CreateTokenError::Name);
        }
        let now = self.clock.now();
        let end = |lifetime: TimeDelta| {
            let positive = Some(lifetime).filter(|lifetime| *lifetime > TimeDelta::zero());
            positive.and_then(|lifetime| now.checked_add_signed(lifetime)).ok_or(CreateTokenError::Lifetime)
        };
        let secret = secret::random().map_err(CreateTokenError::Random)?;
        let token = Token {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            hash: secret::hash(&secret),
            scopes: scopes.to_string(),
            created_at: now,
            created_by: by.name.clone(),
            expires_at: lifetime.map(end).transpose()?,
            last_used_at: None,
        };
        let event = AuditEvent::new(by, AuditAction::TokenCreate, None, name)
            .changing(None, Some(scopes.to_string()));
        if self.store.create_token(&token, &event).await? {
            Ok((token, secret))
        } else {
            Err(CreateTokenError::Taken)
        }
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens().await
    }

    /// Revokes the token with this name or id, effective immediately on all nodes. `None`: not found.
    ///
    /// # Errors
    /// The store failed.
    pub async fn revoke(&self, name_or_id: &str, by: &Actor) -> Result<Option<Token>, StoreError> {
        let id = Uuid::try_parse(name_or_id).ok();
        let tokens = self.store.tokens().await?;
        let Some(token) = tokens.into_iter().find(|token| token.name == name_or_id || Some(token.id) == id)
        else {
            return Ok(None);
        };
        let event = AuditEvent::new(by, AuditAction::TokenRevoke, None, &token.name)
            .changing(Some(token.scopes.clone()), None);
        Ok(self.store.revoke_token(token.id, &event).await?.then_some(token))
    }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-');
    name.len() <= NAME_CHARS_MAX
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use store::Location;
    use tempfile::TempDir;

    use super::*;

    const ADMIN: &str = "0123456789abcdef0123456789abcdef";

    async fn tokens() -> (TempDir, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        let (admin, _) = AdminToken::load_or_create(Some(ADMIN), folder.path()).unwrap();
        (folder, Tokens::new(store, admin, Clock::default()))
    }

    fn hello() -> AppName {
        AppName::new("hello").unwrap()
    }

    #[tokio::test]
    async fn token_is_valid_until_revoked_and_not_stored() {
        let (folder, tokens) = tokens().await;
        let scopes = "hello:read".parse().unwrap();
        let (token, secret) = tokens.create("ci", &scopes, None, &Actor::named("ada")).await.unwrap();
        let caller = tokens.authenticate(&secret, "mallory").await.unwrap();
        assert_eq!((caller.name.as_str(), caller.token), ("ci", Some(token.id)));
        assert!(caller.can(Right::Read, &hello()) && !caller.can(Right::DeployProduction, &hello()));
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
        assert!(tokens.revoke("ci", &Actor::named("ada")).await.unwrap().is_some());
        assert!(matches!(tokens.authenticate(&secret, "").await, Err(AuthError::Invalid)));
        assert!(tokens.revoke("ci", &Actor::named("ada")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn token_expires() {
        let (_folder, tokens) = tokens().await;
        let scopes = "admin".parse().unwrap();
        let lived = TimeDelta::milliseconds(1);
        let (_, secret) = tokens.create("brief", &scopes, Some(lived), &Actor::named("ada")).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        assert!(matches!(tokens.authenticate(&secret, "").await, Err(AuthError::Expired)));
        let never = tokens.create("never", &scopes, Some(TimeDelta::zero()), &Actor::named("ada")).await;
        assert!(matches!(never, Err(CreateTokenError::Lifetime)));
    }

    #[tokio::test]
    async fn admin_token_and_typos_need_no_database() {
        let (_folder, tokens) = tokens().await;
        tokens.store.close().await;
        assert!(tokens.authenticate(ADMIN, "ada").await.unwrap().is_admin());
        assert!(matches!(tokens.authenticate("pcl_wrong", "").await, Err(AuthError::Invalid)));
        let well_formed = secret::random().unwrap();
        assert!(matches!(tokens.authenticate(&well_formed, "").await, Err(AuthError::Store(_))));
    }

    #[tokio::test]
    async fn token_is_not_accepted_as_name() {
        let (_folder, tokens) = tokens().await;
        let other = secret::random().unwrap();
        let named = async |claimed_name: &str| tokens.authenticate(ADMIN, claimed_name).await.unwrap().name;
        for claimed_name in [
            "",
            "  ",
            ADMIN,
            &format!("x-{ADMIN}"),
            &other,
            &format!("https://{other}@host"),
            &format!("{}{other}", "a".repeat(60)),
        ] {
            assert_eq!(named(claimed_name).await, "admin", "{claimed_name}");
        }
        assert_eq!(named("ada").await, "ada");
        assert_eq!(named(&"é".repeat(100)).await, "é".repeat(64));
        assert_eq!(named("pcl_").await, "pcl_");
    }

    #[tokio::test]
    async fn caller_is_reauthenticated_until_token_ends() {
        let (_folder, tokens) = tokens().await;
        let by = Actor::named("ada");
        let (_, secret) = tokens.create("ci", &"hello:read".parse().unwrap(), None, &by).await.unwrap();
        let caller = tokens.authenticate(&secret, "").await.unwrap();
        assert!(tokens.reauthenticate(&caller).await.unwrap().unwrap().can(Right::Read, &hello()));
        tokens.revoke("ci", &by).await.unwrap();
        assert!(tokens.reauthenticate(&caller).await.unwrap().is_none());
        let (scopes, minute) = ("admin".parse().unwrap(), TimeDelta::minutes(1));
        let (_, brief) = tokens.create("brief", &scopes, Some(minute), &by).await.unwrap();
        let caller = tokens.authenticate(&brief, "").await.unwrap();
        assert!(tokens.reauthenticate(&caller).await.unwrap().is_some());
        tokens.clock.set_database_time(Utc::now() + TimeDelta::hours(1));
        assert!(tokens.reauthenticate(&caller).await.unwrap().is_none());
        assert!(tokens.reauthenticate(&Caller::admin("ada".to_owned())).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn token_expires_by_database_clock() {
        let (_folder, tokens) = tokens().await;
        let there = Utc::now() - TimeDelta::hours(1);
        tokens.clock.set_database_time(there);
        let (scopes, by) = ("admin".parse().unwrap(), Actor::named("ada"));
        let (token, secret) = tokens.create("ci", &scopes, Some(TimeDelta::minutes(30)), &by).await.unwrap();
        assert!(token.expires_at.is_some_and(|end| end < Utc::now()), "{token:?}");
        assert!(tokens.authenticate(&secret, "").await.is_ok());
        tokens.clock.set_database_time(there + TimeDelta::hours(1));
        assert!(matches!(tokens.authenticate(&secret, "").await, Err(AuthError::Expired)));
    }

    #[test]
    fn token_name_is_validated() {
        for fine in ["ci", "Ada.L@home_2-x", "7", &"a".repeat(64)] {
            assert!(is_name(fine), "{fine}");
        }
        for wrong in ["", "-ci", "a b", "a\n", "é", &"a".repeat(65)] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
