//! Who sent a request: HTTP Basic (RFC 7617, what git sends) or Bearer (RFC 6750, what programs send).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use platform::StoreError;
use platform::tokens::{self, Actor, NotLetIn, TOKEN_MAX, Tokens};

use super::app::request_id;
use super::slips::{Judged, Slips};

/// How a value begins that browsers remember.
const BASIC: &[u8] = b"basic";

/// Someone whose token is right, and the request that it came with.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// What they may.
    pub(crate) who: tokens::Caller,
    /// What the history keeps of them.
    pub(crate) actor: Actor,
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No token came with it.
    Missing,
    /// A token came in a way that browsers remember, which is for git.
    Basic,
    /// The token is wrong.
    Wrong,
    /// The token was right once.
    Expired,
    /// The token is wrong, and so were too many from there.
    TooMany {
        /// When the next wrong one is answered again.
        wait: Duration,
    },
    /// Nobody can say now.
    Unknown(StoreError),
}

/// Lets those in whose token is right.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    tokens: Tokens,
    slips: Arc<Slips>,
}

impl Door {
    pub(crate) fn new(tokens: Tokens) -> Self {
        Self { tokens, slips: Arc::default() }
    }

    /// Reads and checks the `Authorization` of a request that came from `address`.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Caller, Refused> {
        match self.known(headers).await {
            Ok(who) => {
                let address = address.map(|address| address.to_string());
                let actor = who.actor(address, Some(request_id(headers)));
                Ok(Caller { who, actor })
            }
            Err(Refused::Wrong) => Err(match address.map(|at| (at, self.slips.count(at, Instant::now()))) {
                Some((address, Judged::TooMany { wait, first })) => {
                    if first {
                        tracing::warn!(%address, "too many wrong tokens from there");
                    }
                    Refused::TooMany { wait }
                }
                Some((_, Judged::Wrong)) | None => Refused::Wrong,
            }),
            Err(refused) => Err(refused),
        }
    }

    /// The same of a request to the API, which takes bearer tokens only: a browser that knows a password for this server sends it with
    /// whatever a page asks for.
    pub(crate) async fn bearer(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Caller, Refused> {
        let is_basic = |value: &HeaderValue| {
            value.as_bytes().get(..BASIC.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(BASIC))
        };
        if headers.get_all(header::AUTHORIZATION).iter().any(is_basic) {
            return Err(Refused::Basic);
        }
        self.caller(headers, address).await
    }

    /// Takes what holds a token of this server from the headers of a request to an app: somebody has sent it to the wrong address, and
    /// its script would read it. Other credentials are the app's own.
    pub(super) fn withhold_tokens(&self, headers: &mut HeaderMap) {
        for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION] {
            if headers.get_all(&name).iter().any(|value| self.holds_token(value.as_bytes())) {
                headers.remove(name);
            }
        }
    }

    /// Whether a value holds a token: as one of its words, or within what it has in Base64.
    fn holds_token(&self, value: &[u8]) -> bool {
        let value = String::from_utf8_lossy(value);
        let is_between = |letter: char| letter.is_whitespace() || matches!(letter, ',' | ';' | '=' | '"');
        let words = || value.split(is_between).filter(|word| !word.is_empty());
        let decoded = |word: &str| STANDARD.decode(word).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        words().any(|word| self.tokens.is_token(word))
            || value.split_whitespace().skip(1).filter_map(decoded).any(|pair| {
                self.tokens.is_token(&pair) || pair.split(':').any(|half| self.tokens.is_token(half))
            })
    }

    async fn known(&self, headers: &HeaderMap) -> Result<tokens::Caller, Refused> {
        let value = headers.get(header::AUTHORIZATION).ok_or(Refused::Missing)?;
        let Some((name, token)) = value.to_str().ok().and_then(read) else { return Err(Refused::Wrong) };
        match self.identify(&token, &name).await {
            // Both halves of Basic may hold the token: some clients only ask for one.
            Err(Refused::Wrong) if !name.is_empty() => self.identify(&name, "").await,
            known => known,
        }
    }

    async fn identify(&self, token: &str, says: &str) -> Result<tokens::Caller, Refused> {
        self.tokens.identify(token, says).await.map_err(|error| match error {
            NotLetIn::Wrong => Refused::Wrong,
            NotLetIn::Expired => Refused::Expired,
            NotLetIn::Store(error) => Refused::Unknown(error),
        })
    }
}

/// The name and the token that a value of `Authorization` holds.
fn read(value: &str) -> Option<(String, String)> {
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

    async fn door(folder: &tempfile::TempDir) -> Door {
        let (admin, _) = AdminToken::obtain(Some(TOKEN), folder.path()).unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("picloud.db"))).await.unwrap();
        Door::new(Tokens::new(store, admin, platform::clock::Clock::default()))
    }

    async fn ask(authorization: Option<&str>) -> Result<String, Refused> {
        let folder = tempfile::tempdir().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let door = door(&folder).await;
        door.caller(&headers, None).await.map(|caller| caller.actor.name)
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[tokio::test]
    async fn the_token_is_taken_as_bearer_password_or_user_name() {
        assert_eq!(ask(Some(&format!("Bearer {TOKEN}"))).await.unwrap(), "admin");
        assert_eq!(ask(Some(&basic(&format!("ada:{TOKEN}")))).await.unwrap(), "ada");
        assert_eq!(ask(Some(&basic(&format!("{TOKEN}:")))).await.unwrap(), "admin");
        assert_eq!(ask(Some(&basic(&format!("{TOKEN}:{TOKEN}")))).await.unwrap(), "admin");
    }

    #[tokio::test]
    async fn api_takes_no_password_that_a_browser_remembers() {
        let folder = tempfile::tempdir().unwrap();
        let door = door(&folder).await;
        let ask = async |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            door.bearer(&headers, None).await.map(|caller| caller.actor.name)
        };
        assert_eq!(ask(&format!("Bearer {TOKEN}")).await.unwrap(), "admin");
        for basic in [basic(&format!("ada:{TOKEN}")), basic("a:b").to_lowercase(), "BASIC".to_owned()] {
            assert!(matches!(ask(&basic).await, Err(Refused::Basic)), "{basic}");
        }
    }

    #[tokio::test]
    async fn script_gets_no_token_of_this_server() {
        let folder = tempfile::tempdir().unwrap();
        let door = door(&folder).await;
        let other = format!("pcl_{}", "a".repeat(47));
        let left = |value: &str| {
            let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            door.withhold_tokens(&mut headers);
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
            assert!(!left(&token), "{token}");
        }
        for own in
            ["Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", &basic("ada:secret"), &format!("Bearer {other}"), "x"]
        {
            assert!(left(own), "{own}");
        }
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        assert!(matches!(ask(None).await, Err(Refused::Missing)));
        for wrong in ["Bearer x", "Bearer", "Basic !!!", "Digest a", &basic("ada:wrong"), &basic("no-colon")]
        {
            assert!(matches!(ask(Some(wrong)).await, Err(Refused::Wrong)), "{wrong}");
        }
    }
}
