//! `picloud status`.

use std::process::ExitCode;

use super::error::CommandError;
use super::output::show;
use crate::api_types::Status;
use crate::client::{Client, ClientArgs};
use crate::render;

/// Prints the status. The exit code is 1 if there are problems.
pub(crate) fn status(options: &ClientArgs) -> Result<ExitCode, CommandError> {
    let status: Status = Client::find(options)?.get("status")?;
    show(&status, options.json, render::status::report)?;
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
