//! Waits for the record of an execution, which is written shortly after the response.

use std::thread::sleep;
use std::time::{Duration, Instant};

use manifest_schema::name::AppName;

use crate::api_types::WholeExecution;
use crate::client::Client;

/// The timeout. A node writes records four times a second.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The polling interval.
const RETRY_DELAY: Duration = Duration::from_millis(25);

/// Waits for the record, so that a following `picloud logs` shows the execution. `None` if the token cannot read it or the record
/// was dropped.
pub(super) fn wait_for(client: &Client, app: &AppName, execution: &str) -> Option<WholeExecution> {
    let path = format!("apps/{}/executions/{execution}", app.as_str());
    let began = Instant::now();
    loop {
        match client.find_execution(&path) {
            Ok(Some(record)) => return Some(record),
            Ok(None) if began.elapsed() < TIMEOUT => sleep(RETRY_DELAY),
            Ok(None) | Err(_) => return None,
        }
    }
}
