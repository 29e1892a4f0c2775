//! Calls of functions.

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::extract::{AppAccess, Invoke, PathParams, require_json};
use super::lookup;
use super::state::Api;
use crate::api_types;
use crate::edge::api_error::ApiError;

#[derive(Deserialize)]
pub(super) struct FunctionPath {
    function: String,
}

/// Calls a function of the live revision in production with the request body as its payload; the response is the function's.
#[utoipa::path(
    post,
    path = "/-/api/v1/apps/{app}/functions/{function}",
    tag = "functions",
    params(("app" = String, Path, description = "The name of the app"), ("function" = String, Path, description = "The name of the function")),
    request_body = serde_json::Value,
    responses((status = 200, description = "The response of the function, with its own status", body = serde_json::Value), (status = "default", description = "The response of the function"), api_types::ErrorResponses),
)]
pub(super) async fn call(
    State(api): State<Api>,
    AppAccess { app, caller, .. }: AppAccess<Invoke>,
    PathParams(FunctionPath { function }): PathParams<FunctionPath>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let live = lookup::live(&api, &caller.principal, &app, None)?;
    if !live.revision.manifest().functions.iter().any(|declared| declared.name.as_str() == function) {
        return Err(lookup::no_function(&live, &function));
    }
    if !request.body().is_end_stream() {
        require_json(request.headers())?;
    }
    api.functions.call(&app, &function, request).await
}
