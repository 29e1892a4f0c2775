//! The record of an execution that this program has started: it is written a moment after the answer.

use std::thread::sleep;
use std::time::{Duration, Instant};

use manifest_schema::name::AppName;

use crate::client::Client;
use crate::rest::WholeExecution;

/// How long is waited for it. A node writes four times a second.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// How often it is looked for.
const RETRY_DELAY: Duration = Duration::from_millis(25);

/// Waits for the record, so that `picloud logs` shows what has just run. There is none where the token cannot read it, or where the node
/// had no room for it.
pub(super) fn wait_for(client: &Client, app: &AppName, execution: &str) -> Option<WholeExecution> {
    let path = format!("apps/{}/executions/{execution}", app.as_str());
    let began = Instant::now();
    loop {
        match client.find_execution(&path) {
            Ok(Some(record)) => return Some(record),
            Ok(None) if began.elapsed() < WAIT_MAX => sleep(RETRY_DELAY),
            Ok(None) | Err(_) => return None,
        }
    }
}
