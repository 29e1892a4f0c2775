//! What handlers take of a request. Each part is checked before its handler begins: what is refused has changed nothing.
//!
//! - [`access`]: who sent it, and the app that it is about, for those who have the right
//! - [`path`]: the rest of its address
//! - [`query`]: its query, strictly
//! - [`reached`]: how the client has reached this server
//! - [`body`]: its JSON document
//!
//! Handlers take them in this order, so that nobody learns more than they may.

mod access;
mod body;
mod path;
mod query;
mod reached;

pub(super) use access::{
    Admin, AdminCaller, AppAccess, DeployPreviews, DeployProduction, FoundApp, Invoke, Read, Secrets,
};
pub(super) use body::{JsonBody, NoBody, require_json, unless_conditional};
pub(super) use path::PathParams;
pub(super) use query::{BranchParam, Cursor, Limit, NoQuery, PAGE_MAX, StrictQuery, page};
pub(super) use reached::ReachedBy;
