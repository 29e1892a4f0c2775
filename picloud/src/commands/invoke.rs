//! `picloud invoke`: calls a function of what is live.

use std::io::{self, Read as _};
use std::process::ExitCode;

use super::error::{CommandError, VerbError};
use super::output::print;
use crate::cli::InvokeOptions;
use crate::client::Client;

/// The longest payload that is read from standard input; a server takes no more either.
const PAYLOAD_MAX: u64 = 64 << 20;

/// Prints the function's answer as it is. An answer that says that it failed is a failure of the verb as well.
pub(crate) fn invoke(options: &InvokeOptions) -> Result<ExitCode, CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let mut payload = Vec::new();
    if options.data == "-" {
        io::stdin().lock().take(PAYLOAD_MAX).read_to_end(&mut payload).map_err(VerbError::ReadInput)?;
    } else {
        payload.extend(options.data.as_bytes());
    }
    let answer = client.call(&app, &options.function, &payload)?;
    print(&answer.body)?;
    if !answer.body.ends_with(b"\n") {
        print("\n")?;
    }
    Ok(if answer.status < 400 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
