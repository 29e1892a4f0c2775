//! `picloud status`: whether all is well.

use std::process::ExitCode;

use super::error::CommandError;
use super::output::show;
use crate::client::{Client, ClientOptions};
use crate::rest::Status;
use crate::words;

/// Says whether all is well; 1 where there is any problem.
pub(crate) fn status(options: &ClientOptions) -> Result<ExitCode, CommandError> {
    let status: Status = Client::find(options)?.get("status")?;
    show(&status, options.json, words::status::shown)?;
    Ok(if status.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
