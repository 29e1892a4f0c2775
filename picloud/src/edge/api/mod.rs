//! The REST API under `/-/api/v1`: one room a resource. What is read and written is in [`crate::rest`].
//!
//! Every request needs a right token, and each room asks what it may. Errors are RFC 9457 problem details.
//!
//! What a request brings is checked by its extractors ([`query`], [`input`]) before its handler begins, and a handler
//! changes something once, in one transaction of the store: what is refused has changed nothing.

mod apps;
mod audit;
mod deploys;
mod description;
mod etag;
mod executions;
pub(super) mod functions;
mod input;
mod logs;
mod nodes;
mod previews;
mod query;
mod schedules;
mod secrets;
mod status;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use manifest_schema::name::AppName;
use platform::activation::{Activation, RETRY};
use platform::clock::Clock;
use platform::deploy::Deployer;
use platform::health::DatabaseHealth;
use platform::live::{Found, Live, LiveTable};
use platform::recording::Recorder;
use platform::schedules::Scheduler;
use platform::secrets::Vault;
use platform::tokens::{Right, Tokens};
use serde::Serialize;
use serde_json::json;
use store::{Store, StoreError};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::credentials::{Caller, Door, Refused};
use super::listener::Stopping;
use super::public::Public;
use super::{client, reply};
use crate::node::ThisNode;
use crate::rest;
use crate::words::store_failure;

/// What the API reads and changes.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) database: DatabaseHealth,
    pub(crate) clock: Clock,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) activation: Activation,
    /// Where apps answer.
    pub(crate) public: Public,
    /// The folder in which the node keeps its files.
    pub(crate) data_dir: PathBuf,
    /// The age from which on the latest backup is too old.
    pub(crate) backup_max_age: Option<Duration>,
    /// How old a preview may become.
    pub(crate) preview_age: Option<Duration>,
    /// The node that answers.
    pub(crate) node: Arc<ThisNode>,
    pub(crate) door: Door,
    pub(crate) tokens: Tokens,
    pub(crate) vault: Vault,
    pub(crate) deployer: Deployer,
    pub(crate) scheduler: Scheduler,
    pub(crate) recorder: Recorder,
    /// Places for those who follow logs.
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) stopping: Arc<Stopping>,
    /// The longest a client may take to send a body.
    pub(crate) body_time: Duration,
}

impl Api {
    /// Places for all who may follow logs at once.
    pub(crate) fn followers() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(logs::FOLLOWERS_MAX))
    }
}

/// The routes of the API, and what describes them. Both are made of the same list.
pub(crate) fn router(api: Api) -> Router {
    let (routes, description) = OpenApiRouter::with_openapi(description::base())
        .routes(routes!(apps::list))
        .routes(routes!(apps::create))
        .routes(routes!(apps::settings, apps::set))
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
    routes
        .route_layer(from_fn(input::unless_conditional))
        .route_layer(from_fn_with_state(api.clone(), with_a_right_token))
        .route_layer(from_fn(etag::unless_known))
        .with_state(api)
        .merge(description::router(&description))
}

/// Lets a request on whose token is right, with who it is. What they may is for each room to ask.
async fn with_a_right_token(State(api): State<Api>, mut request: Request, next: Next) -> Response<Body> {
    match api.door.caller(request.headers(), client::address(&request)).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => not_let_in(refused),
    }
}

/// Why somebody is not let in.
pub(super) fn not_let_in(refused: Refused) -> Response<Body> {
    let words = match refused {
        Refused::Missing | Refused::Wrong => "a right token is needed as bearer",
        Refused::Expired => "the token has expired",
        Refused::TooMany { wait } => {
            let words = "too many wrong tokens came from this address; try again later";
            return reply::wait(problem(StatusCode::TOO_MANY_REQUESTS, words), wait);
        }
        Refused::Unknown(error) => return failed(&error),
    };
    let mut response = problem(StatusCode::UNAUTHORIZED, words);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether the caller may do it to the app of that name. Whoever may nothing with it is told the same as where there is none.
fn allow(caller: &Caller, right: Right, app: &str) -> Result<(), Box<Response<Body>>> {
    if caller.may(right, app) {
        return Ok(());
    }
    if right == Right::Admin {
        return allow_admin(caller);
    }
    let needed = AppName::new(app).ok().filter(|_| caller.knows(app)).map(|app| right.scope(&app));
    Err(Box::new(match needed {
        Some(scope) => {
            problem(StatusCode::FORBIDDEN, &format!("this token may not do that; it needs the scope {scope}"))
        }
        None => no_app(),
    }))
}

/// Whether the caller may what belongs to no app.
fn allow_admin(caller: &Caller) -> Result<(), Box<Response<Body>>> {
    match caller.who.is_admin() {
        true => Ok(()),
        false => Err(Box::new(problem(
            StatusCode::FORBIDDEN,
            "this token may not do that; it needs the scope admin",
        ))),
    }
}

fn no_app() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "there is no such app, or nothing of it is live")
}

/// The app is there, and this node cannot load it.
fn unserved() -> Response<Body> {
    let why = "this node cannot serve the app at the moment; GET /-/health/ready says why";
    reply::wait(problem(StatusCode::SERVICE_UNAVAILABLE, why), RETRY)
}

/// What is live in production.
fn production(table: &LiveTable, app: &str) -> Result<Arc<Live>, Box<Response<Body>>> {
    match table.find_production(app) {
        Some(Found::Live(live)) => Ok(live),
        Some(Found::Unserved) => Err(Box::new(unserved())),
        None => Err(Box::new(no_app())),
    }
}

/// A document of the API.
fn document<T: Serialize>(document: &T) -> Response<Body> {
    match serde_json::to_value(document) {
        Ok(value) => reply::json(StatusCode::OK, &value),
        Err(error) => {
            tracing::error!(%error, "a document of the API cannot be written as JSON");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log has the cause")
        }
    }
}

/// A task that was to carry something out died.
fn ended_early(error: &tokio::task::JoinError) -> Response<Body> {
    tracing::error!(%error, "a request of the API came to an early end");
    problem(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log has the cause")
}

/// What needs the database while it is away, or fails in it. The cause goes to the log.
fn failed(error: &StoreError) -> Response<Body> {
    tracing::error!(%error, "the store failed a request");
    let words = &store_failure(error);
    match error {
        StoreError::DiskFull => return problem(StatusCode::INSUFFICIENT_STORAGE, words),
        StoreError::OutcomeUnknown => return problem(StatusCode::SERVICE_UNAVAILABLE, words),
        error if !error.is_unavailable() => return problem(StatusCode::INTERNAL_SERVER_ERROR, words),
        _ => {}
    }
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, words);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// An error as RFC 9457 has it.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let problem =
        rest::Problem { status: status.as_u16(), title: title.to_owned(), detail: detail.to_owned() };
    let mut response = reply::json(status, &json!(problem));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
