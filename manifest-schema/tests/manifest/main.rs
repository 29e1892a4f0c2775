//! `picloud.toml` from bytes to a manifest or its faults.

mod faults;
mod helps;
mod hostile;
mod schema;
mod whole;
