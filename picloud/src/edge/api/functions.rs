//! Functions: what a manifest declares to be called.

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::extract::{AppAccess, Invoke, PathParams, require_json};
use super::names;
use super::state::Api;
use crate::edge::api_error::ApiError;
use crate::rest;

#[derive(Deserialize)]
pub(super) struct FunctionPath {
    function: String,
}

/// Calls a function of an app's live revision with the body as its payload; the answer is the function's.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/functions/{function}",
    tag = "functions",
    params(("app" = String, Path, description = "The name of the app"), ("function" = String, Path, description = "The name of the function")),
    request_body = serde_json::Value,
    responses((status = 200, description = "What the function answers, with whatever status it has", body = serde_json::Value), (status = "default", description = "The same"), rest::Refusals),
)]
pub(super) async fn call(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Invoke>,
    PathParams(FunctionPath { function }): PathParams<FunctionPath>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let live = names::live(&api, &caller.who, &app, None)?;
    if !live.revision.manifest().functions.iter().any(|declared| declared.name.as_str() == function) {
        return Err(names::no_function(&live, &function));
    }
    if !request.body().is_end_stream() {
        require_json(request.headers())?;
    }
    api.functions.call(&app, &function, request).await
}
