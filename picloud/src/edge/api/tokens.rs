//! Tokens: list, create, revoke. For admins only.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use chrono::TimeDelta;
use platform::tokens::{Scopes, Token};
use serde::Deserialize;

use super::extract::{AdminCaller, JsonBody, NoBody, NoQuery, PathParams};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

/// Lists the tokens by name, without their secrets.
#[utoipa::path(
    get,
    path = "/-/api/v1/tokens",
    tag = "tokens",
    responses((status = 200, body = api_types::Tokens), api_types::ErrorResponses),
)]
pub(super) async fn list(
    State(api): State<Api>,
    _: AdminCaller,
    _: NoQuery,
) -> Result<Json<api_types::Tokens>, ApiError> {
    Ok(Json(api_types::Tokens { tokens: api.tokens.list().await?.into_iter().map(to_api).collect() }))
}

/// For responses with a secret.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// Creates a token. The response is the only place where its secret is shown.
#[utoipa::path(
    post,
    path = "/-/api/v1/tokens",
    tag = "tokens",
    request_body = api_types::NewToken,
    responses((status = 201, body = api_types::CreatedToken), api_types::ErrorResponses),
)]
pub(super) async fn create(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    _: NoQuery,
    JsonBody(new): JsonBody<api_types::NewToken>,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<api_types::CreatedToken>), ApiError> {
    let scopes = Scopes::parse(new.scopes.iter().map(String::as_str))?;
    let lifetime = new.expires_in_seconds.map(|seconds| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX)
    });
    let (token, secret) = api.tokens.create(&new.name, &scopes, lifetime, &caller.actor).await?;
    Ok((StatusCode::CREATED, NO_STORE, Json(api_types::CreatedToken { secret, token: to_api(token) })))
}

#[derive(Deserialize)]
pub(super) struct TokenPath {
    token: String,
}

/// Revokes a token, given by name or id.
#[utoipa::path(
    delete,
    path = "/-/api/v1/tokens/{token}",
    tag = "tokens",
    params(("token" = String, Path, description = "The name or the id of the token")),
    responses((status = 200, body = api_types::Token), api_types::ErrorResponses),
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    AdminCaller(caller): AdminCaller,
    PathParams(TokenPath { token }): PathParams<TokenPath>,
    _: NoQuery,
    _: NoBody,
) -> Result<Json<api_types::Token>, ApiError> {
    let revoked = api.tokens.revoke(&token, &caller.actor).await?;
    let Some(revoked) = revoked else {
        let tokens = api.tokens.list().await?;
        return Err(lookup::not_found_among(
            "token not found",
            &token,
            tokens.iter().map(|token| token.name.as_str()),
        ));
    };
    Ok(Json(to_api(revoked)))
}

fn to_api(token: Token) -> api_types::Token {
    api_types::Token {
        id: token.id,
        name: token.name,
        scopes: token.scopes.split(' ').map(str::to_owned).collect(),
        created_at: token.created_at,
        created_by: token.created_by,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
    }
}
