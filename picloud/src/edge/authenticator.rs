//! Authenticates requests by their token: HTTP Basic (RFC 7617, as git sends it) or Bearer (RFC 6750).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use platform::StoreError;
use platform::tokens::{self, Actor, TOKEN_MAX, Tokens};

use super::app::request_id;
use super::auth_rate_limit::{Decision, FailedAttempts};

/// The scheme that browsers remember and send unasked.
const BASIC: &[u8] = b"basic";

/// An authenticated caller and its request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The caller with the scopes of its token.
    pub(crate) principal: tokens::Caller,
    /// The caller as the audit log records it.
    pub(crate) actor: Actor,
}

/// Why a request cannot be authenticated.
#[derive(Debug)]
pub(crate) enum AuthError {
    /// The request has no token.
    Missing,
    /// HTTP Basic, which only git can use.
    BasicNotAllowed,
    /// The token is invalid.
    Invalid,
    /// The token has expired.
    Expired,
    /// The token is invalid, as too many of this client were.
    RateLimited {
        /// The time until the client is no longer limited.
        retry_after: Duration,
    },
    /// The token cannot be checked.
    Unavailable(StoreError),
}

/// Checks tokens and limits the rate of failed attempts.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator {
    tokens: Tokens,
    failed_attempts: Arc<FailedAttempts>,
}

impl Authenticator {
    pub(crate) fn new(tokens: Tokens) -> Self {
        Self { tokens, failed_attempts: Arc::default() }
    }

    /// Authenticates the caller of a request from `address` by Basic or Bearer.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Caller, AuthError> {
        match self.check(headers).await {
            Ok(principal) => {
                let address = address.map(|address| address.to_string());
                let actor = principal.actor(address, Some(request_id(headers)));
                Ok(Caller { principal, actor })
            }
            Err(AuthError::Invalid) => Err(match address {
                Some(address) => self.count_failure(address),
                None => AuthError::Invalid,
            }),
            Err(error) => Err(error),
        }
    }

    fn count_failure(&self, address: IpAddr) -> AuthError {
        match self.failed_attempts.record(address, Instant::now()) {
            Decision::Reject => AuthError::Invalid,
            Decision::RateLimited { retry_after, is_first } => {
                if is_first {
                    tracing::warn!(%address, "too many invalid tokens from this address");
                }
                AuthError::RateLimited { retry_after }
            }
        }
    }

    /// Authenticates the caller of an API request, by Bearer only: a browser that has stored a Basic password sends it with the requests of
    /// every page.
    pub(crate) async fn authenticate_bearer(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Caller, AuthError> {
        let is_basic = |value: &HeaderValue| {
            value.as_bytes().get(..BASIC.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(BASIC))
        };
        if headers.get_all(header::AUTHORIZATION).iter().any(is_basic) {
            return Err(AuthError::BasicNotAllowed);
        }
        self.authenticate(headers, address).await
    }

    /// Removes tokens of this server from the headers of a request to an app, whose script would read a token sent to it by mistake. Other
    /// credentials belong to the app.
    pub(super) fn strip_tokens(&self, headers: &mut HeaderMap) {
        for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION] {
            if headers.get_all(&name).iter().any(|value| self.contains_token(value.as_bytes())) {
                headers.remove(name);
            }
        }
    }

    /// Whether a header value contains a token, in plain text or in Base64.
    fn contains_token(&self, value: &[u8]) -> bool {
        let value = String::from_utf8_lossy(value);
        let is_separator = |letter: char| letter.is_whitespace() || matches!(letter, ',' | ';' | '=' | '"');
        let words = || value.split(is_separator).filter(|word| !word.is_empty());
        let decoded = |word: &str| STANDARD.decode(word).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        words().any(|word| self.tokens.is_token(word))
            || value.split_whitespace().skip(1).filter_map(decoded).any(|pair| {
                self.tokens.is_token(&pair) || pair.split(':').any(|half| self.tokens.is_token(half))
            })
    }

    async fn check(&self, headers: &HeaderMap) -> Result<tokens::Caller, AuthError> {
        let value = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing)?;
        let Some((name, token)) = value.to_str().ok().and_then(parse) else { return Err(AuthError::Invalid) };
        match self.identify(&token, &name).await {
            // Some clients only prompt for a user name, so the token can be in either half of Basic.
            Err(AuthError::Invalid) if !name.is_empty() => self.identify(&name, "").await,
            result => result,
        }
    }

    async fn identify(&self, token: &str, claimed_name: &str) -> Result<tokens::Caller, AuthError> {
        self.tokens.authenticate(token, claimed_name).await.map_err(|error| match error {
            tokens::AuthError::Invalid => AuthError::Invalid,
            tokens::AuthError::Expired => AuthError::Expired,
            tokens::AuthError::Store(error) => AuthError::Unavailable(error),
        })
    }
}

/// The name and the token of an `Authorization` header.
fn parse(value: &str) -> Option<(String, String)> {
    let (scheme, rest) = value.split_once(' ')?;
    let (name, token) = if scheme.eq_ignore_ascii_case("bearer") {
        (String::new(), rest.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        basic(rest.trim())?
    } else {
        return None;
    };
    (name.len() <= TOKEN_MAX && token.len() <= TOKEN_MAX).then_some((name, token))
}

fn basic(encoded: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, token) = decoded.split_once(':')?;
    Some((name.to_owned(), token.to_owned()))
}

#[cfg(test)]
mod tests {
    use platform::tokens::AdminToken;
    use store::{Location, Store};

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    async fn authenticator(folder: &tempfile::TempDir) -> Authenticator {
        let (admin, _) = AdminToken::load_or_create(Some(TOKEN), folder.path()).unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        Authenticator::new(Tokens::new(store, admin, platform::clock::Clock::default()))
    }

    async fn authenticate(authorization: Option<&str>) -> Result<String, AuthError> {
        let folder = tempfile::tempdir().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let authenticator = authenticator(&folder).await;
        authenticator.authenticate(&headers, None).await.map(|caller| caller.actor.name)
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[tokio::test]
    async fn token_is_accepted_as_bearer_password_or_user_name() {
        assert_eq!(authenticate(Some(&format!("Bearer {TOKEN}"))).await.unwrap(), "admin");
        assert_eq!(authenticate(Some(&basic(&format!("ada:{TOKEN}")))).await.unwrap(), "ada");
        assert_eq!(authenticate(Some(&basic(&format!("{TOKEN}:")))).await.unwrap(), "admin");
        assert_eq!(authenticate(Some(&basic(&format!("{TOKEN}:{TOKEN}")))).await.unwrap(), "admin");
    }

    #[tokio::test]
    async fn bearer_authentication_rejects_basic() {
        let folder = tempfile::tempdir().unwrap();
        let authenticator = authenticator(&folder).await;
        let bearer = async |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            authenticator.authenticate_bearer(&headers, None).await.map(|caller| caller.actor.name)
        };
        assert_eq!(bearer(&format!("Bearer {TOKEN}")).await.unwrap(), "admin");
        for basic in [basic(&format!("ada:{TOKEN}")), basic("a:b").to_lowercase(), "BASIC".to_owned()] {
            assert!(matches!(bearer(&basic).await, Err(AuthError::BasicNotAllowed)), "{basic}");
        }
    }

    #[tokio::test]
    async fn tokens_of_this_server_are_stripped() {
        let folder = tempfile::tempdir().unwrap();
        let authenticator = authenticator(&folder).await;
        let other = format!("pcl_{}", "a".repeat(47));
        let is_kept = |value: &str| {
            let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            authenticator.strip_tokens(&mut headers);
            !headers.is_empty()
        };
        for token in [
            format!("Bearer {TOKEN}"),
            format!("bearer  {TOKEN} "),
            TOKEN.to_owned(),
            basic(&format!("ada:{TOKEN}")),
            basic(&format!("{TOKEN}:")),
            format!("Token token=\"{TOKEN}\""),
        ] {
            assert!(!is_kept(&token), "{token}");
        }
        for own in
            ["Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", &basic("ada:secret"), &format!("Bearer {other}"), "x"]
        {
            assert!(is_kept(own), "{own}");
        }
    }

    #[tokio::test]
    async fn missing_or_malformed_token_is_rejected() {
        assert!(matches!(authenticate(None).await, Err(AuthError::Missing)));
        for wrong in ["Bearer x", "Bearer", "Basic !!!", "Digest a", &basic("ada:wrong"), &basic("no-colon")]
        {
            assert!(matches!(authenticate(Some(wrong)).await, Err(AuthError::Invalid)), "{wrong}");
        }
    }
}
