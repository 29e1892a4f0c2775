//! `picloud invoke`: calls a function of the live deploy.

use std::io::{self, Read as _};
use std::process::ExitCode;

use serde::de::IgnoredAny;

use super::error::{CommandError, IoError};
use super::output::print;
use super::record;
use crate::cli::{InvokeArgs, Payload};
use crate::client::Client;
use crate::render::executions;

/// The maximum size of the payload on standard input.
const PAYLOAD_MAX: u64 = 64 << 20;

/// Prints the response of the function. The exit code reports an error status; the failure is printed to standard error if the
/// token can read executions.
pub(crate) fn invoke(options: &InvokeArgs) -> Result<ExitCode, CommandError> {
    let payload = payload(&options.data)?;
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let response = client.call(&app, &options.function, &payload)?;
    print(&response.body)?;
    if !response.body.ends_with(b"\n") {
        print("\n")?;
    }
    if let Some(execution) = &response.execution {
        match record::wait_for(&client, &app, execution) {
            Some(record) => {
                if let Some(failure) = &record.execution.failure {
                    anstream::eprint!("{}", executions::failure(failure));
                }
            }
            None if response.status >= 500 => {
                eprintln!(
                    "hint: picloud executions {execution}  shows the failure; requires the scope {app}:read"
                );
            }
            None => {}
        }
    }
    Ok(if response.status < 400 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The JSON of an argument.
pub(super) fn payload(data: &Payload) -> Result<Vec<u8>, CommandError> {
    match data {
        Payload::Json(text) => Ok(text.clone().into_bytes()),
        Payload::Stdin => read_stdin(),
    }
}

/// Reads JSON from standard input.
fn read_stdin() -> Result<Vec<u8>, CommandError> {
    let mut payload = Vec::new();
    io::stdin().lock().take(PAYLOAD_MAX).read_to_end(&mut payload).map_err(IoError::ReadInput)?;
    serde_json::from_slice::<IgnoredAny>(&payload).map_err(IoError::InputJson)?;
    Ok(payload)
}
