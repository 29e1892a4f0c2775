//! What answers under `/-/` while a folder is served: health, and functions. There are no tokens.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Response, StatusCode, header};
use axum::routing::{get, post};

use super::api::functions::{self, Callees};
use super::api::problem;

/// The routes beside the app.
pub(super) fn router(callees: Callees) -> Router {
    let nowhere = || problem(StatusCode::NOT_FOUND, "`picloud dev` answers health and functions alone");
    Router::new()
        .route("/-/health/live", get(|| async { "ok\n" }))
        .route("/-/health/ready", get(|| async { "ok\n" }))
        .route("/-/api/v1/apps/{app}/functions/{function}", post(call))
        .with_state(callees)
        .fallback(async move || nowhere())
}

/// Any token is right, but there must be one: a page of another site, open in the developer's browser, cannot send it
/// without being allowed to.
async fn call(
    State(callees): State<Callees>,
    Path((app, function)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    if !request.headers().contains_key(header::AUTHORIZATION) {
        return problem(StatusCode::UNAUTHORIZED, "a token is needed as bearer; here any is right");
    }
    functions::answer(&callees, &app, &function, request).await
}
