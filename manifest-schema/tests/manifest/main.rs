//! `picloud.toml` from bytes to a manifest or its faults.

mod faults;
mod hostile;
mod schema;
mod whole;
