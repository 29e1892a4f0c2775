//! The format of `picloud.toml`: types, parser, diagnostics and JSON Schema. The only file access is to the system's time
//! zone data ([`zone`]).
//!
//! # Layout
//!
//! - [`diagnostic`]: errors and warnings with their locations, also used for scripts
//! - [`name`]: names of apps, domains, scripts, schedules, functions and settings
//! - [`label`]: DNS labels of apps and branches
//! - [`sdk`]: SDK versions
//! - [`method`]: HTTP methods
//! - [`path`]: route paths with `{captures}`
//! - [`zone`]: time zones and their data
//! - [`cron`]: cron expressions and their due times
//! - [`execution`]: triggers and log levels
//! - [`limits`]: limits of an execution, and the ceiling for them
//! - [`units`]: durations and sizes
//! - [`manifest`]: the typed manifest
//! - `source`: the text of a manifest, and its diagnostics
//! - `table`: reads TOML tables key by key
//! - [`parse`]: parses a manifest; one submodule per section
//! - [`mod@schema`]: generates the JSON Schema from the types
//! - [`settings`]: a flat TOML file of settings, for the server's configuration
//!
//! # Path of data
//!
//! [`parse::parse`] decodes the bytes, parses TOML with spans, and reads each section in its submodule. A reader returns a
//! value, or adds diagnostics to `source` and returns `None`. The result is a [`manifest::Manifest`] with warnings, or a
//! [`parse::ParseError`] with all diagnostics.
//!
//! # Invariants
//!
//! - A value of a public type is valid: constructors validate, and fields cannot break a rule.
//! - Parsing does not stop at the first error; one call reports them all, bounded by [`diagnostic::Diagnostics::KEPT_MAX`].
//! - Time and stack are bounded for any input; nothing panics.
//! - [`parse`] accepts nothing that [`mod@schema`] rejects.
//! - Labels are one-to-one and stable across versions.

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
