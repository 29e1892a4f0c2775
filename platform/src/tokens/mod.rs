//! Who may what: the admin token, and tokens with scopes.
//!
//! - [`admin`]: the token that may everything and needs no database
//! - `secret`: what a token is written as, and what is kept of it
//! - [`scope`]: rights, and the scopes that grant them
//!
//! [`Tokens::identify`] turns what somebody sent into a [`Caller`], of whom everything else only asks [`Caller::may`].

pub mod admin;
pub mod scope;
mod secret;

use chrono::{DateTime, TimeDelta, Utc};
use manifest_schema::name::AppName;
use store::{Act, AuditAction, Store, StoreError};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::clock::Clock;

pub use admin::{AdminToken, Origin, TOKEN_MAX, TOKEN_MIN, TokenError};
pub use scope::{NodeRight, Right, ScopeError, Scopes};
pub use store::{Actor, Token};

/// How often the use of a token is written down.
const USED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// The longest name of a token, and of one who uses the admin token, in characters.
const NAME_MAX: usize = 64;

/// The name of one who uses the admin token and gives none.
const NAMELESS: &str = "admin";

/// Someone whose token is right.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name they go by: that of the token, or what they say where the admin token was used.
    pub name: String,
    /// The token; `None`: the admin token.
    pub token: Option<Uuid>,
    scopes: Scopes,
}

impl Caller {
    /// Someone with the admin token, who says to be `name`.
    pub fn admin(name: String) -> Self {
        Self { name, token: None, scopes: Scopes::admin() }
    }

    /// Whether they may do it, to `app`.
    pub fn may(&self, right: Right, app: &AppName) -> bool {
        self.scopes.allow(right, app)
    }

    /// Whether they may do it to every app.
    pub fn may_everywhere(&self, right: Right) -> bool {
        self.scopes.allow_everywhere(right)
    }

    /// Whether they may see it of the node.
    pub fn may_on_node(&self, right: NodeRight) -> bool {
        self.scopes.allow_on_node(right)
    }

    /// Whether they may everything.
    pub fn is_admin(&self) -> bool {
        self.scopes.is_admin()
    }

    /// Whether they may anything with the app, and so know of it.
    pub fn knows(&self, app: &AppName) -> bool {
        self.scopes.know(app)
    }

    /// The same for the history.
    pub fn actor(&self, address: Option<String>, request: Option<Uuid>) -> Actor {
        Actor { name: self.name.clone(), token: self.token, address, request }
    }
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum NotLetIn {
    /// There is no such token.
    #[error("the token is wrong")]
    Wrong,
    /// There was one.
    #[error("the token has expired")]
    Expired,
    /// It cannot be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a token was not created.
#[derive(Debug, thiserror::Error)]
pub enum NotCreated {
    /// The name breaks the rule.
    #[error(
        "a token's name is 1 to {NAME_MAX} characters of a-z, A-Z, 0-9, `.`, `_`, `@` and `-`, and begins with a letter or digit"
    )]
    Name,
    /// Another token has the name.
    #[error("there is a token of that name already; revoke it first, or choose another name")]
    Taken,
    /// It would never work.
    #[error("a token must work for some time")]
    Lifetime,
    /// The system gave no random bytes.
    #[error("the system gives no random bytes: {0}")]
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
    /// The tokens that `store` keeps, which expire by `clock`, and the admin token.
    pub fn new(store: Store, admin: AdminToken, clock: Clock) -> Self {
        Self { store, admin, clock }
    }

    /// Whether `text` is the admin token, or is written as tokens are. No database is asked.
    pub fn is_token(&self, text: &str) -> bool {
        (TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) && (secret::is_well_formed(text) || self.admin.is(text))
    }

    /// Whose token `offered` is; one with the admin token is taken to be who they say. A token that is not written as one
    /// is wrong without the database being asked; nothing is remembered of one that was looked up, so that it ends as
    /// soon as it is revoked.
    ///
    /// # Errors
    /// It is nobody's, or that cannot be found out.
    pub async fn identify(&self, offered: &str, says: &str) -> Result<Caller, NotLetIn> {
        if offered.len() > TOKEN_MAX {
            return Err(NotLetIn::Wrong);
        }
        if self.admin.is(offered) {
            let says = says.trim();
            // Some clients have one field only, and some people take one for the other: what is kept as a name is shown to all.
            let is_name = !says.is_empty() && !self.holds_token(says);
            let name = if is_name { says.chars().take(NAME_MAX).collect() } else { NAMELESS.to_owned() };
            return Ok(Caller::admin(name));
        }
        if !secret::is_well_formed(offered) {
            return Err(NotLetIn::Wrong);
        }
        let hash = secret::hash(offered);
        let found = self.store.token(&hash).await?;
        let token = found.filter(|token| token.hash.ct_eq(&hash).into()).ok_or(NotLetIn::Wrong)?;
        let now = self.clock.now();
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(NotLetIn::Expired);
        }
        self.remember_use(&token, now);
        Ok(Caller { name: token.name, token: Some(token.id), scopes: Scopes::kept(&token.scopes) })
    }

    /// The same once more, of someone who was identified before: `None`: their token was revoked, or has expired.
    ///
    /// # Errors
    /// It cannot be looked up.
    pub async fn identify_again(&self, caller: &Caller) -> Result<Option<Caller>, StoreError> {
        let Some(id) = caller.token else { return Ok(Some(caller.clone())) };
        let now = self.clock.now();
        let found = self.store.token_of(id).await?;
        let works = found.filter(|token| token.expires_at.is_none_or(|end| end > now));
        Ok(works.map(|token| Caller {
            name: token.name,
            token: Some(id),
            scopes: Scopes::kept(&token.scopes),
        }))
    }

    /// Whether a text holds a token: one that is written as tokens are, or the admin token.
    fn holds_token(&self, text: &str) -> bool {
        secret::stands_in(text) || text.contains(self.admin.reveal())
    }

    /// Nobody waits for it.
    fn remember_use(&self, token: &Token, now: DateTime<Utc>) {
        if token.last_used_at.is_some_and(|last| last > now - USED_EVERY) {
            return;
        }
        let (store, id) = (self.store.clone(), token.id);
        tokio::spawn(async move {
            if let Err(error) = store.token_used(id, now, USED_EVERY).await {
                tracing::warn!(%error, "the use of a token is not written down");
            }
        });
    }

    /// Makes a token that works for `lifetime`, or until it is revoked. The token itself is in the second part of the answer,
    /// and nowhere else.
    ///
    /// # Errors
    /// The name is taken or breaks the rule, or the store failed.
    pub async fn create(
        &self,
        name: &str,
        scopes: &Scopes,
        lifetime: Option<TimeDelta>,
        by: &Actor,
    ) -> Result<(Token, String), NotCreated> {
        if !is_name(name) {
            return Err(NotCreated::Name);
        }
        let now = self.clock.now();
        let end = |lifetime: TimeDelta| {
            let positive = Some(lifetime).filter(|lifetime| *lifetime > TimeDelta::zero());
            positive.and_then(|lifetime| now.checked_add_signed(lifetime)).ok_or(NotCreated::Lifetime)
        };
        let secret = secret::random().map_err(NotCreated::Random)?;
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
        let act = Act::new(by, AuditAction::TokenCreate, None, name).changing(None, Some(scopes.to_string()));
        if self.store.create_token(&token, &act).await? {
            Ok((token, secret))
        } else {
            Err(NotCreated::Taken)
        }
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens().await
    }

    /// Ends the token with this name or id, at once and everywhere. `None`: there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn revoke(&self, which: &str, by: &Actor) -> Result<Option<Token>, StoreError> {
        let id = Uuid::try_parse(which).ok();
        let tokens = self.store.tokens().await?;
        let Some(token) = tokens.into_iter().find(|token| token.name == which || Some(token.id) == id) else {
            return Ok(None);
        };
        let act = Act::new(by, AuditAction::TokenRevoke, None, &token.name)
            .changing(Some(token.scopes.clone()), None);
        Ok(self.store.revoke_token(token.id, &act).await?.then_some(token))
    }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-');
    name.len() <= NAME_MAX
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
        let (admin, _) = AdminToken::obtain(Some(ADMIN), folder.path()).unwrap();
        (folder, Tokens::new(store, admin, Clock::default()))
    }

    fn hello() -> AppName {
        AppName::new("hello").unwrap()
    }

    #[tokio::test]
    async fn a_token_works_until_it_is_revoked_and_is_kept_nowhere() {
        let (folder, tokens) = tokens().await;
        let scopes = "hello:read".parse().unwrap();
        let (token, secret) = tokens.create("ci", &scopes, None, &Actor::named("ada")).await.unwrap();
        let caller = tokens.identify(&secret, "mallory").await.unwrap();
        assert_eq!((caller.name.as_str(), caller.token), ("ci", Some(token.id)));
        assert!(caller.may(Right::Read, &hello()) && !caller.may(Right::DeployProduction, &hello()));
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
        assert!(tokens.revoke("ci", &Actor::named("ada")).await.unwrap().is_some());
        assert!(matches!(tokens.identify(&secret, "").await, Err(NotLetIn::Wrong)));
        assert!(tokens.revoke("ci", &Actor::named("ada")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_token_expires() {
        let (_folder, tokens) = tokens().await;
        let scopes = "admin".parse().unwrap();
        let lived = TimeDelta::milliseconds(1);
        let (_, secret) = tokens.create("brief", &scopes, Some(lived), &Actor::named("ada")).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        assert!(matches!(tokens.identify(&secret, "").await, Err(NotLetIn::Expired)));
        let never = tokens.create("never", &scopes, Some(TimeDelta::zero()), &Actor::named("ada")).await;
        assert!(matches!(never, Err(NotCreated::Lifetime)));
    }

    #[tokio::test]
    async fn the_admin_token_needs_no_database_and_neither_does_a_slip_of_the_pen() {
        let (_folder, tokens) = tokens().await;
        tokens.store.close().await;
        assert!(tokens.identify(ADMIN, "ada").await.unwrap().is_admin());
        assert!(matches!(tokens.identify("pcl_wrong", "").await, Err(NotLetIn::Wrong)));
        let well_formed = secret::random().unwrap();
        assert!(matches!(tokens.identify(&well_formed, "").await, Err(NotLetIn::Store(_))));
    }

    #[tokio::test]
    async fn no_token_is_taken_for_a_name() {
        let (_folder, tokens) = tokens().await;
        let other = secret::random().unwrap();
        let named = async |says: &str| tokens.identify(ADMIN, says).await.unwrap().name;
        for says in [
            "",
            "  ",
            ADMIN,
            &format!("x-{ADMIN}"),
            &other,
            &format!("https://{other}@host"),
            &format!("{}{other}", "a".repeat(60)),
        ] {
            assert_eq!(named(says).await, "admin", "{says}");
        }
        assert_eq!(named("ada").await, "ada");
        assert_eq!(named(&"é".repeat(100)).await, "é".repeat(64));
        assert_eq!(named("pcl_").await, "pcl_");
    }

    #[tokio::test]
    async fn someone_is_known_again_until_the_token_ends() {
        let (_folder, tokens) = tokens().await;
        let by = Actor::named("ada");
        let (_, secret) = tokens.create("ci", &"hello:read".parse().unwrap(), None, &by).await.unwrap();
        let caller = tokens.identify(&secret, "").await.unwrap();
        assert!(tokens.identify_again(&caller).await.unwrap().unwrap().may(Right::Read, &hello()));
        tokens.revoke("ci", &by).await.unwrap();
        assert!(tokens.identify_again(&caller).await.unwrap().is_none());
        let (scopes, minute) = ("admin".parse().unwrap(), TimeDelta::minutes(1));
        let (_, brief) = tokens.create("brief", &scopes, Some(minute), &by).await.unwrap();
        let caller = tokens.identify(&brief, "").await.unwrap();
        assert!(tokens.identify_again(&caller).await.unwrap().is_some());
        tokens.clock.database_says(Utc::now() + TimeDelta::hours(1));
        assert!(tokens.identify_again(&caller).await.unwrap().is_none());
        assert!(tokens.identify_again(&Caller::admin("ada".to_owned())).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn token_expires_by_the_clock_of_the_database() {
        let (_folder, tokens) = tokens().await;
        let there = Utc::now() - TimeDelta::hours(1);
        tokens.clock.database_says(there);
        let (scopes, by) = ("admin".parse().unwrap(), Actor::named("ada"));
        let (token, secret) = tokens.create("ci", &scopes, Some(TimeDelta::minutes(30)), &by).await.unwrap();
        assert!(token.expires_at.is_some_and(|end| end < Utc::now()), "{token:?}");
        assert!(tokens.identify(&secret, "").await.is_ok());
        tokens.clock.database_says(there + TimeDelta::hours(1));
        assert!(matches!(tokens.identify(&secret, "").await, Err(NotLetIn::Expired)));
    }

    #[test]
    fn a_name_can_be_typed() {
        for fine in ["ci", "Ada.L@home_2-x", "7", &"a".repeat(64)] {
            assert!(is_name(fine), "{fine}");
        }
        for wrong in ["", "-ci", "a b", "a\n", "é", &"a".repeat(65)] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
