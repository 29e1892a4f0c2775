//! `picloud.toml` from bytes to a manifest or its diagnostics.

mod checks;
mod diagnostics;
mod helps;
mod hostile;
mod schema;
mod valid;
