//! The REST API under `/-/api/v1`, one module per resource. Its types are in [`crate::api_types`].
//!
//! Every request needs a valid token. [`extract`] validates the request and authorizes the caller before the handler runs, and a handler makes
//! its change in one transaction, so that a rejected request changes nothing. Handlers call `platform` and return JSON or an
//! [`ApiError`]; they have no access to the database.

mod apps;
mod audit;
mod compact_json;
mod deploys;
mod domains;
mod etag;
mod executions;
mod extract;
mod functions;
mod kv;
mod lifecycle;
mod limits;
mod logs;
mod lookup;
mod nodes;
mod openapi;
mod previews;
mod schedules;
mod secrets;
mod state;
mod status;
mod tokens;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api_error::ApiError;
use super::client_ip;

pub(crate) use state::Api;

/// The routes of the API.
pub(crate) fn router(api: Api) -> Router {
    let (routes, document) = routes_with_openapi();
    routes
        .route_layer(from_fn(extract::reject_preconditions))
        .route_layer(from_fn_with_state(api.clone(), authenticate))
        .route_layer(from_fn(etag::conditional_get))
        .with_state(api)
        .merge(openapi::router(&document))
}

/// The routes and their OpenAPI document, from one list.
fn routes_with_openapi() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let (routes, mut document) = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(apps::list))
        .routes(routes!(apps::create, lifecycle::delete))
        .routes(routes!(lifecycle::stop))
        .routes(routes!(lifecycle::start))
        .routes(routes!(lifecycle::rename))
        .routes(routes!(lifecycle::list_deleted))
        .routes(routes!(lifecycle::undelete))
        .routes(routes!(apps::prune))
        .routes(routes!(apps::settings, apps::set))
        .routes(routes!(limits::show, limits::change))
        .routes(routes!(audit::list))
        .routes(routes!(nodes::list))
        .routes(routes!(status::show))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(functions::call))
        .routes(routes!(deploys::list))
        .routes(routes!(deploys::roll_back))
        .routes(routes!(previews::list, previews::set))
        .routes(routes!(deploys::routes))
        .routes(routes!(executions::list))
        .routes(routes!(executions::show))
        .routes(routes!(logs::list))
        .routes(routes!(logs::follow))
        .routes(routes!(domains::list))
        .routes(routes!(domains::verify))
        .routes(routes!(domains::approve))
        .routes(routes!(domains::release))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::unset))
        .routes(routes!(secrets::rotate))
        .routes(routes!(secrets::begin_new_key))
        .routes(routes!(kv::list))
        .routes(routes!(kv::show, kv::set, kv::delete))
        .routes(routes!(kv::import))
        .routes(routes!(kv::usage))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::runs))
        .routes(routes!(schedules::run_now))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::resume_all))
        .split_for_parts();
    openapi::set_operation_ids(&mut document);
    (routes, document)
}

/// Authenticates the caller and stores it in the request. The extractors of each handler authorize it.
async fn authenticate(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller =
        api.authenticator.authenticate_bearer(request.headers(), client_ip::client_ip(&request)).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// The committed document, so that changes of the API show in diffs.
    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

    /// Set by `make openapi` to write the file.
    const WRITE: &str = "PICLOUD_WRITE_OPENAPI";

    #[test]
    fn openapi_document_is_committed() {
        let (_, document) = routes_with_openapi();
        let document = serde_json::to_value(document).unwrap();
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        if std::env::var_os(WRITE).is_some() {
            fs::write(COMMITTED, text).unwrap();
            return;
        }
        let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(committed == text, "docs/openapi.json is out of date; update it with `make openapi`");
    }

    #[test]
    fn operation_ids_are_unique() {
        let (_, document) = routes_with_openapi();
        let document = serde_json::to_value(document).unwrap();
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|path| path.as_object().unwrap().values());
        let ids: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }
}
