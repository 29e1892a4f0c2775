//! Tokens: what there is, create, revoke. For admins alone.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use chrono::TimeDelta;
use platform::tokens::{NotCreated, Scopes};

use super::input::{JsonBody, NoBody, Nothing};
use super::query::Asked;
use super::{Api, allow_admin, document, failed, problem};
use crate::edge::credentials::Caller;
use crate::rest;

/// All tokens, by name. None of them can be read back from this.
#[utoipa::path(
    get,
    path = "/-/api/v1/tokens",
    tag = "tokens",
    responses((status = 200, body = rest::Tokens), rest::Refusals),
)]
pub(super) async fn list(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    match api.tokens.list().await {
        Ok(tokens) => document(&rest::Tokens { tokens: tokens.into_iter().map(shown).collect() }),
        Err(error) => failed(&error),
    }
}

/// Creates a token. The answer is the only place where it is ever shown.
#[utoipa::path(
    post,
    path = "/-/api/v1/tokens",
    tag = "tokens",
    request_body = rest::NewToken,
    responses((status = 201, body = rest::CreatedToken), rest::Refusals),
)]
pub(super) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    JsonBody(asked): JsonBody<rest::NewToken>,
) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    let scopes = match Scopes::parse(asked.scopes.iter().map(String::as_str)) {
        Ok(scopes) => scopes,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let lifetime = asked.expires_in_seconds.map(|seconds| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX)
    });
    match api.tokens.create(&asked.name, &scopes, lifetime, &caller.actor).await {
        Ok((token, secret)) => {
            let mut response = document(&rest::CreatedToken { secret, token: shown(token) });
            *response.status_mut() = StatusCode::CREATED;
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error @ NotCreated::Taken) => problem(StatusCode::CONFLICT, &error.to_string()),
        Err(error @ (NotCreated::Name | NotCreated::Lifetime)) => {
            problem(StatusCode::BAD_REQUEST, &error.to_string())
        }
        Err(NotCreated::Random(error)) => {
            tracing::error!(%error, "the system gives no random bytes");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log has the cause")
        }
        Err(NotCreated::Store(error)) => failed(&error),
    }
}

/// Ends a token, named by its name or its id.
#[utoipa::path(
    delete,
    path = "/-/api/v1/tokens/{token}",
    tag = "tokens",
    params(("token" = String, Path, description = "Its name or its id")),
    responses((status = 200, body = rest::Token), rest::Refusals),
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    Path(token): Path<String>,
    Extension(caller): Extension<Caller>,
    _: Asked<Nothing>,
    _: NoBody,
) -> Response<Body> {
    if let Err(response) = allow_admin(&caller) {
        return *response;
    }
    match api.tokens.revoke(&token, &caller.actor).await {
        Ok(Some(token)) => document(&shown(token)),
        Ok(None) => problem(StatusCode::NOT_FOUND, "there is no such token"),
        Err(error) => failed(&error),
    }
}

fn shown(token: store::Token) -> rest::Token {
    rest::Token {
        id: token.id,
        name: token.name,
        scopes: token.scopes.split(' ').map(str::to_owned).collect(),
        created_at: token.created_at,
        created_by: token.created_by,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
    }
}
