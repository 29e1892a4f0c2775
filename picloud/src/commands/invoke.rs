//! `picloud invoke`: calls a function of what is live.

use std::io::{self, Read as _};
use std::process::ExitCode;

use serde::de::IgnoredAny;

use super::error::{CommandError, VerbError};
use super::output::print;
use super::record;
use crate::cli::{InvokeOptions, Payload};
use crate::client::Client;
use crate::words::executions;

/// The longest payload that is read from standard input; a server takes no more either.
const PAYLOAD_MAX: u64 = 64 << 20;

/// Prints the function's answer as it is. An answer that says that it failed is a failure of the verb as well; why it failed goes to
/// standard error, where the token can read that.
pub(crate) fn invoke(options: &InvokeOptions) -> Result<ExitCode, CommandError> {
    let payload = match &options.data {
        Payload::Json(text) => text.clone().into_bytes(),
        Payload::Input => piped()?,
    };
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let answer = client.call(&app, &options.function, &payload)?;
    print(&answer.body)?;
    if !answer.body.ends_with(b"\n") {
        print("\n")?;
    }
    if let Some(execution) = &answer.execution {
        match record::wait_for(&client, &app, execution) {
            Some(record) => {
                if let Some(failure) = &record.execution.failure {
                    anstream::eprint!("{}", executions::failed(failure));
                }
            }
            None if answer.status >= 500 => {
                eprintln!(
                    "hint: picloud executions {execution}  tells why, to a token with the scope {app}:read"
                );
            }
            None => {}
        }
    }
    Ok(if answer.status < 400 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What standard input holds, if it is JSON.
fn piped() -> Result<Vec<u8>, CommandError> {
    let mut payload = Vec::new();
    io::stdin().lock().take(PAYLOAD_MAX).read_to_end(&mut payload).map_err(VerbError::ReadInput)?;
    serde_json::from_slice::<IgnoredAny>(&payload).map_err(VerbError::NoJson)?;
    Ok(payload)
}
