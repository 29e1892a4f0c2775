//! What requests to the API say in their addresses.

use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use manifest_schema::name::AppName;
use platform::tokens::Right;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use store::App;

use super::{Api, allow, failed, no_app, problem};
use crate::edge::credentials::Caller;

/// The most that one page holds.
pub(super) const PAGE_MAX: u32 = 1000;

/// How much of a list is asked for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Limit(u32);

impl Limit {
    /// The number, or what is usual where nothing is asked for.
    pub(super) fn or(limit: Option<Self>, usual: u32) -> u32 {
        limit.map_or(usual, |Self(limit)| limit)
    }
}

impl TryFrom<u32> for Limit {
    type Error = &'static str;

    fn try_from(limit: u32) -> Result<Self, Self::Error> {
        if (1..=PAGE_MAX).contains(&limit) { Ok(Self(limit)) } else { Err("`limit` is 1 to 1000") }
    }
}

/// The query of a request. What is not understood is refused: every handler that changes something takes one, that of
/// [`Nothing`](super::input::Nothing) where there are no parameters.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Asked<T> {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Self::Rejection> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(query)| Self(query)).map_err(|error| {
            let reason =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            problem(StatusCode::BAD_REQUEST, &format!("the query is not understood: {reason}"))
        })
    }
}

/// The place that a cursor stands for: one that a page gave.
pub(super) fn cursor(cursor: Option<&str>) -> Result<Option<u64>, Box<Response<Body>>> {
    let refused = |_| Box::new(problem(StatusCode::BAD_REQUEST, "a cursor is one that a page gave"));
    cursor.map(str::parse).transpose().map_err(refused)
}

/// The app of that name, whether or not anything of it is live, to whom may do it.
pub(super) async fn find_app(
    api: &Api,
    caller: &Caller,
    right: Right,
    name: &str,
) -> Result<App, Box<Response<Body>>> {
    allow(caller, right, name)?;
    let name = AppName::new(name).map_err(|_| Box::new(no_app()))?;
    let found = api.store.app(&name).await.map_err(|error| Box::new(failed(&error)))?;
    found.ok_or_else(|| Box::new(no_app()))
}
