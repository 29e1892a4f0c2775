//! `picloud executions`: lists executions, or shows one.

use manifest_schema::name::AppName;

use super::error::CommandError;
use super::output::{next_page_hint, page_query, show};
use crate::api_types::{Executions, WholeExecution};
use crate::cli::{ExecutionArgs, ExecutionsArgs, ExecutionsCommand, IdPrefix, ListExecutionsArgs};
use crate::client::{Client, percent_encode};
use crate::hint::Hint;
use crate::render::count;
use crate::render::executions::{details, listed};

/// The maximum number of pages of 1000 executions to search for an id prefix.
const SEARCH_PAGES_MAX: usize = 5;

/// Why an id prefix matches no single execution.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error("no execution id among the latest {seen} starts with {prefix}")]
    NotFound { prefix: IdPrefix, seen: String },
    #[error("the prefix {prefix} is ambiguous: {} and {}", .found[0], .found[1])]
    Ambiguous { prefix: IdPrefix, found: [String; 2] },
}

impl Hint for FindError {}

/// Lists the latest executions of an app, or shows one.
pub(crate) fn executions(args: &ExecutionsArgs) -> Result<(), CommandError> {
    match (&args.command, &args.execution) {
        (Some(ExecutionsCommand::List(options)), _) => list(options),
        (Some(ExecutionsCommand::Show(option)), _) => show_one(option),
        (None, Some(execution)) => {
            let ListExecutionsArgs { app, client, .. } = args.list.clone();
            show_one(&ExecutionArgs { execution: execution.clone(), app, client })
        }
        (None, None) => list(&args.list),
    }
}

fn show_one(option: &ExecutionArgs) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    let id = resolve_id(&client, &app, &option.execution)?;
    let found: WholeExecution = client.get(&format!("apps/{}/executions/{id}", app.as_str()))?;
    show(&found, option.client.json, details)
}

fn list(options: &ListExecutionsArgs) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let mut query = vec![page_query(&options.page)];
    query.extend(options.branch.as_ref().map(|branch| format!("branch={}", percent_encode(branch))));
    query.extend(options.script.as_ref().map(|script| format!("script={}", percent_encode(script))));
    query.extend(options.trigger.map(|trigger| format!("trigger={}", trigger.as_str())));
    query.extend(options.failed.then(|| "failed=true".to_owned()));
    let found: Executions = client.get(&format!("apps/{}/executions?{}", app.as_str(), query.join("&")))?;
    show(&found, options.client.json, |found| {
        listed(&found.executions) + next_page_hint(found.next_cursor.as_deref()).as_str()
    })
}

/// Finds the id with this prefix among the latest executions.
pub(super) fn resolve_id(client: &Client, app: &AppName, prefix: &IdPrefix) -> Result<String, CommandError> {
    if let Some(id) = prefix.full_id() {
        return Ok(id.to_owned());
    }
    let mut found: Vec<String> = Vec::new();
    let mut cursor = String::new();
    let mut seen = 0;
    for _ in 0..SEARCH_PAGES_MAX {
        let path = format!("apps/{}/executions?limit=1000{cursor}", app.as_str());
        let page: Executions = client.get(&path)?;
        seen += page.executions.len();
        let ids = page.executions.iter().map(|execution| execution.id.to_string());
        found.extend(ids.filter(|id| prefix.matches(id)));
        if let [first, second, ..] = found.as_slice() {
            let found = [first.clone(), second.clone()];
            return Err(FindError::Ambiguous { prefix: prefix.clone(), found }.into());
        }
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", percent_encode(&next)),
            None => break,
        }
    }
    let none = || FindError::NotFound { prefix: prefix.clone(), seen: count(seen, "execution") };
    Ok(found.pop().ok_or_else(none)?)
}
