//! The OpenAPI 3.1 document of the API, generated from its handlers.

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
use crate::api_types::{DroppedRecords, LogLine, Problem};
use crate::edge::response;

/// The parts of the document that belong to no handler.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "PiCloud",
        description = "The API of the command line client. Errors are problem details (RFC 9457). Lists are paginated: \
                       `next_cursor` of a page is the `cursor` of the next. Responses to GET have an ETag.",
    ),
    components(schemas(LogLine, DroppedRecords, Problem)),
    modifiers(&Token),
    security(("token" = []))
)]
struct Base;

/// The security scheme of the API.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token from `picloud tokens create`, or the admin token."))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// The document without the handlers.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// Gives every operation a unique id (OpenAPI 3.1 section 4.8.10) of its resource and its handler, such as `apps_list`.
pub(super) fn set_operation_ids(document: &mut utoipa::openapi::OpenApi) {
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete, &mut path.patch];
        for operation in operations.into_iter().flatten() {
            let resource = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
            operation.operation_id =
                operation.operation_id.take().map(|handler| format!("{resource}_{handler}"));
        }
    }
}

/// Serves the document. It is public: it reveals nothing about this server.
pub(super) fn router(document: &utoipa::openapi::OpenApi) -> Router {
    let text: Arc<serde_json::Value> = Arc::new(serde_json::json!(document));
    let handler = move || {
        let response: Response<Body> = response::json(StatusCode::OK, &text);
        std::future::ready(response)
    };
    Router::new().route("/-/api/openapi.json", get(handler)).route_layer(from_fn(etag::conditional_get))
}
