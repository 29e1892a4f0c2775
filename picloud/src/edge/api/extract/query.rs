//! The query parameters of requests.

use std::error::Error;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use platform::page::PageRequest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::edge::api_error::ApiError;

/// The maximum number of items on a page.
pub(crate) const PAGE_MAX: u32 = 1000;

/// The requested number of items on a page.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Limit(u32);

impl TryFrom<u32> for Limit {
    type Error = &'static str;

    fn try_from(limit: u32) -> Result<Self, Self::Error> {
        if (1..=PAGE_MAX).contains(&limit) { Ok(Self(limit)) } else { Err("`limit` must be 1 to 1000") }
    }
}

/// Where a page starts: the `next_cursor` of the previous one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String", bound = "K: FromStr")]
pub(crate) struct Cursor<K>(pub(crate) K)
where
    K: FromStr;

impl<K: FromStr> TryFrom<String> for Cursor<K> {
    type Error = &'static str;

    fn try_from(cursor: String) -> Result<Self, Self::Error> {
        cursor.parse().map(Self).map_err(|_| "invalid cursor")
    }
}

/// The requested page, with the default limit if there is none.
pub(crate) fn page<K: FromStr>(
    limit: Option<Limit>,
    cursor: Option<Cursor<K>>,
    default_limit: u32,
) -> PageRequest<K> {
    let limit = limit.map_or(default_limit, |Limit(limit)| limit);
    PageRequest { cursor: cursor.map(|Cursor(key)| key), limit }
}

/// The branch of a request.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BranchParam {
    /// The branch; production if omitted.
    pub(crate) branch: Option<String>,
}

/// The query of a request, without unknown parameters. Every handler has this extractor or [`NoQuery`], except calls of functions.
pub(crate) struct StrictQuery<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(query)| Self(query)).map_err(|error| {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            ApiError::bad_request(format!("invalid query parameter: {reason}"))
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// An empty query.
pub(crate) struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        StrictQuery::from_request_parts(parts, state).await.map(|StrictQuery(Empty {})| Self)
    }
}
