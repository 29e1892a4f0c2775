//! The description of the API (OpenAPI 3.1), generated from its rooms.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::middleware::from_fn;
use axum::routing::get;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::etag;
use crate::edge::reply;
use crate::rest::{Gap, LogLine, Problem};

/// What is not said by any one room.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "PiCloud",
        description = "Everything that the command line does. Errors are problem details (RFC 9457). Lists come in pages: \
                       `next_cursor` of one is the `cursor` of the next. Answers to GET have an ETag.",
    ),
    components(schemas(LogLine, Gap, Problem)),
    modifiers(&Token),
    security(("token" = []))
)]
struct Base;

/// How a client says who it is.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of `picloud tokens create`, or the admin token."))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The description without the rooms.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// Gives every operation an id of its own, as OpenAPI 3.1 section 4.8.10 asks: its resource and what it does, such as `apps_list`.
pub(super) fn name_operations(description: &mut utoipa::openapi::OpenApi) {
    for path in description.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete, &mut path.patch];
        for operation in operations.into_iter().flatten() {
            let resource = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
            operation.operation_id = operation.operation_id.take().map(|does| format!("{resource}_{does}"));
        }
    }
}

/// Serves the description, to whoever asks: it says nothing of this server.
pub(super) fn router(description: &utoipa::openapi::OpenApi) -> Router {
    let text: Arc<serde_json::Value> = Arc::new(serde_json::json!(description));
    let answer = move || {
        let response: Response<Body> = reply::json(StatusCode::OK, &text);
        std::future::ready(response)
    };
    Router::new().route("/-/api/openapi.json", get(answer)).route_layer(from_fn(etag::unless_known))
}
