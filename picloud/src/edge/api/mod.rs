//! The REST API under `/-/api/v1`: one module a resource. What is read and written is in [`crate::rest`].
//!
//! Every request needs a right token. [`extract`] checks what a request brings and who may send it before its handler begins, and a
//! handler changes something once, in one transaction: what is refused has changed nothing. Handlers ask `platform` and answer with
//! a document, or with an [`ApiError`]; they never see the database.

mod apps;
mod audit;
mod deploys;
mod description;
mod domains;
mod etag;
mod executions;
mod extract;
mod functions;
mod lifecycle;
mod limits;
mod logs;
mod names;
mod nodes;
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
use super::client;

pub(crate) use state::Api;

/// The routes of the API.
pub(crate) fn router(api: Api) -> Router {
    let (routes, description) = described();
    routes
        .route_layer(from_fn(extract::unless_conditional))
        .route_layer(from_fn_with_state(api.clone(), with_a_right_token))
        .route_layer(from_fn(etag::unless_known))
        .with_state(api)
        .merge(description::router(&description))
}

/// The routes, and what describes them. Both are made of the same list.
fn described() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let (routes, mut description) = OpenApiRouter::with_openapi(description::base())
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
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::runs))
        .routes(routes!(schedules::run_now))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::resume_all))
        .split_for_parts();
    description::name_operations(&mut description);
    (routes, description)
}

/// Lets a request on whose token is right, with who it is. What they may is for the extractors of each handler to ask.
async fn with_a_right_token(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = api.door.bearer(request.headers(), client::address(&request)).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// The description as it is committed, so that a change of the API shows in the diff.
    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

    /// Set by `make openapi`: the file is to be written.
    const WRITE: &str = "PICLOUD_WRITE_OPENAPI";

    #[test]
    fn openapi_document_is_the_committed_one() {
        let (_, description) = described();
        let description = serde_json::to_value(description).unwrap();
        let text = serde_json::to_string_pretty(&description).unwrap() + "\n";
        if std::env::var_os(WRITE).is_some() {
            fs::write(COMMITTED, text).unwrap();
            return;
        }
        let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed == text,
            "the API is not what docs/openapi.json says; write it with `make openapi`"
        );
    }

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let (_, description) = described();
        let description = serde_json::to_value(description).unwrap();
        let paths = description["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|path| path.as_object().unwrap().values());
        let ids: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }
}
