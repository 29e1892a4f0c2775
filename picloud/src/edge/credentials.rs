//! Who sent a request: HTTP Basic (RFC 7617, what git sends) or Bearer (RFC 6750, what programs send).

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use platform::tokens::{AdminToken, TOKEN_MAX};

/// The longest name of a pusher that is kept.
const NAME_MAX: usize = 64;

/// The name of one who gave none.
const NAMELESS: &str = "admin";

/// Someone whose token is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name they go by; with the admin token it is what they say.
    pub(crate) name: String,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No token came with it.
    Missing,
    /// The token is wrong.
    Wrong,
}

/// Reads and checks the `Authorization` of a request.
pub(crate) fn caller(headers: &HeaderMap, admin: &AdminToken) -> Result<Caller, Refused> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Refused::Missing)?;
    let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Refused::Wrong)?;
    let (name, token) = if scheme.eq_ignore_ascii_case("bearer") {
        (String::new(), rest.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        basic(rest.trim()).ok_or(Refused::Wrong)?
    } else {
        return Err(Refused::Wrong);
    };
    // Both halves of Basic may hold the token: some clients only ask for one.
    let right = token.len() <= TOKEN_MAX && admin.is(&token);
    let name_is_token = name.len() <= TOKEN_MAX && admin.is(&name);
    if !right && !name_is_token {
        return Err(Refused::Wrong);
    }
    let name: String = if name_is_token { String::new() } else { name.chars().take(NAME_MAX).collect() };
    Ok(Caller { name: if name.trim().is_empty() { NAMELESS.to_owned() } else { name } })
}

fn basic(encoded: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, token) = decoded.split_once(':')?;
    Some((name.to_owned(), token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn ask(authorization: Option<&str>) -> Result<String, Refused> {
        let folder = tempfile::tempdir().unwrap();
        let (admin, _) = AdminToken::obtain(Some(TOKEN), folder.path()).unwrap();
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        caller(&headers, &admin).map(|caller| caller.name)
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn the_token_is_taken_as_bearer_password_or_user_name() {
        assert_eq!(ask(Some(&format!("Bearer {TOKEN}"))), Ok("admin".to_owned()));
        assert_eq!(ask(Some(&basic(&format!("ada:{TOKEN}")))), Ok("ada".to_owned()));
        assert_eq!(ask(Some(&basic(&format!("{TOKEN}:")))), Ok("admin".to_owned()));
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(ask(None), Err(Refused::Missing));
        for wrong in ["Bearer x", "Bearer", "Basic !!!", "Digest a", &basic("ada:wrong"), &basic("no-colon")]
        {
            assert_eq!(ask(Some(wrong)), Err(Refused::Wrong), "{wrong}");
        }
    }
}
