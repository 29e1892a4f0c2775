//! The contract of `picloud.toml`: its types, its parsing, and every diagnostic with its place. Pure, but for one thing: the rules of
//! time zones are read from the system ([`zone`]).
//!
//! Layout, in the order a manifest travels through it:
//!
//! - [`diagnostic`]: what is wrong and where; scripts' diagnostics use it too
//! - [`name`]: the names that address things: apps, their domains, scripts, schedules, functions
//! - [`label`]: how hosts write apps and branches, one-to-one
//! - [`sdk`]: the versions of the SDK contract
//! - [`method`]: the HTTP methods a route may name
//! - [`path`]: route paths with `{captures}`
//! - [`zone`]: time zones, and the data by which their clocks go
//! - [`cron`]: cron expressions in a time zone, and when they are due
//! - [`execution`]: what starts an execution, and how much its log lines matter
//! - [`limits`]: what one execution may use
//! - [`manifest`]: the whole, typed
//! - [`units`]: durations and sizes as people write them
//! - [`settings`]: a flat file of settings, each with its place: how a server is configured
//! - `source`: the text of a manifest, and the diagnostics found in it
//! - `table`: reads TOML tables key by key and keeps every diagnostic
//! - [`mod@schema`]: the manifest's JSON Schema, from its types
//! - [`parse`]: bytes in, a [`manifest::Manifest`] or all its diagnostics out
//!
//! The path of a manifest: bytes -> text -> TOML with places -> each section by a room of its own in `parse` -> one
//! [`manifest::Manifest`]. Nothing stops at the first diagnostic; whoever reads a part that is wrong leaves a diagnostic and no value.

pub mod cron;
pub mod diagnostic;
pub mod execution;
pub mod label;
pub mod limits;
pub mod manifest;
pub mod method;
pub mod name;
pub mod parse;
pub mod path;
pub mod schema;
pub mod sdk;
pub mod settings;
mod source;
mod table;
pub mod units;
pub mod zone;
