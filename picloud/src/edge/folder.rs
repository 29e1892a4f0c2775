//! What answers under `/-/` while a folder is served: health, and functions. There are no tokens.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use manifest_schema::name::AppName;

use super::api_error::ApiError;
use super::functions::FunctionCaller;

/// The routes beside the app.
pub(super) fn router(functions: FunctionCaller) -> Router {
    let nowhere = || ApiError::not_found("`picloud dev` answers health and functions alone");
    Router::new()
        .route("/-/health/live", get(|| async { "ok\n" }))
        .route("/-/health/ready", get(|| async { "ok\n" }))
        .route("/-/api/v1/apps/{app}/functions/{function}", post(call))
        .with_state(functions)
        .fallback(async move || nowhere())
}

/// Any token is right, but there must be one: a page of another site, open in the developer's browser, cannot send it
/// without being allowed to.
async fn call(
    State(functions): State<FunctionCaller>,
    Path((app, function)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    if !request.headers().contains_key(header::AUTHORIZATION) {
        let words = "a token is needed as bearer; here any is right";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, words));
    }
    let app = AppName::new(&app).map_err(|_| ApiError::no_app())?;
    functions.call(&app, &function, request).await
}
