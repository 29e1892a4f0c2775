//! `picloud executions`: what ran, and one run whole.

use super::error::CommandError;
use super::output::show;
use crate::cli::ExecutionsOptions;
use crate::client::{Client, escaped};
use crate::rest::{Executions, WholeExecution};
use crate::words::executions::{listed, whole};

/// Lists the latest executions of an app, or shows one.
pub(crate) fn executions(options: &ExecutionsOptions) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    if let Some(id) = options.execution {
        let found: WholeExecution = client.get(&format!("apps/{}/executions/{id}", app.as_str()))?;
        return show(&found, options.client.json, whole);
    }
    let mut query = vec![format!("limit={}", options.limit)];
    query.extend(options.script.as_ref().map(|script| format!("script={}", escaped(script))));
    query.extend(options.trigger.map(|trigger| format!("trigger={}", trigger.as_str())));
    query.extend(options.failed.then(|| "failed=true".to_owned()));
    let found: Executions = client.get(&format!("apps/{}/executions?{}", app.as_str(), query.join("&")))?;
    show(&found, options.client.json, |found| listed(&found.executions))
}
