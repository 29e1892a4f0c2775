//! Extractors of the API. All run before the handler, so that a rejected request changes nothing.
//!
//! - [`access`]: the caller and the app, with authorization
//! - [`path`]: the other path parameters
//! - [`query`]: the query, without unknown parameters
//! - [`host`]: the host by which the client reaches this server
//! - [`body`]: the JSON body
//!
//! Handlers take them in this order, so that errors reveal nothing to unauthorized callers.

mod access;
mod body;
mod host;
mod path;
mod query;

pub(super) use access::{
    Admin, AdminCaller, AppAccess, DeployPreviews, DeployProduction, FoundApp, Invoke, KvRead, KvWrite, Read,
    Secrets,
};
pub(super) use body::{JsonBody, NoBody, reject_preconditions, require_json};
pub(super) use host::RequestedHost;
pub(super) use path::PathParams;
pub(super) use query::{BranchParam, Cursor, Limit, NoQuery, PAGE_MAX, StrictQuery, page};
