//! `picloud executions`: what ran, and one run whole.

use manifest_schema::name::AppName;

use super::error::CommandError;
use super::output::{more, page, show};
use crate::cli::{ExecutionOption, ExecutionsNoun, ExecutionsOptions, ExecutionsVerb, IdPrefix};
use crate::client::{Client, escaped};
use crate::hint::Hint;
use crate::rest::{Executions, WholeExecution};
use crate::words::count;
use crate::words::executions::{listed, whole};

/// The most pages of a thousand in which an id is looked for that is not whole.
const PAGES_MAX: usize = 5;

/// Why an id leads to no execution.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error("none of the latest {seen} has an id that begins with {prefix}")]
    None { prefix: IdPrefix, seen: String },
    #[error("several executions have an id that begins with {prefix}: {} and {}", .found[0], .found[1])]
    Several { prefix: IdPrefix, found: [String; 2] },
}

impl Hint for FindError {}

/// Lists the latest executions of an app, or shows one.
pub(crate) fn executions(noun: &ExecutionsNoun) -> Result<(), CommandError> {
    match (&noun.verb, &noun.execution) {
        (Some(ExecutionsVerb::List(options)), _) => list(options),
        (Some(ExecutionsVerb::Show(option)), _) => one(option),
        (None, Some(execution)) => {
            let ExecutionsOptions { app, client, .. } = noun.list.clone();
            one(&ExecutionOption { execution: execution.clone(), app, client })
        }
        (None, None) => list(&noun.list),
    }
}

fn one(option: &ExecutionOption) -> Result<(), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    let id = id_of(&client, &app, &option.execution)?;
    let found: WholeExecution = client.get(&format!("apps/{}/executions/{id}", app.as_str()))?;
    show(&found, option.client.json, whole)
}

fn list(options: &ExecutionsOptions) -> Result<(), CommandError> {
    let client = Client::find(&options.client)?;
    let app = client.app(&options.app)?;
    let mut query = vec![page(&options.page)];
    query.extend(options.branch.as_ref().map(|branch| format!("branch={}", escaped(branch))));
    query.extend(options.script.as_ref().map(|script| format!("script={}", escaped(script))));
    query.extend(options.trigger.map(|trigger| format!("trigger={}", trigger.as_str())));
    query.extend(options.failed.then(|| "failed=true".to_owned()));
    let found: Executions = client.get(&format!("apps/{}/executions?{}", app.as_str(), query.join("&")))?;
    show(&found, options.client.json, |found| {
        listed(&found.executions) + more(found.next_cursor.as_deref()).as_str()
    })
}

/// The id that begins so, among those of the latest executions.
pub(super) fn id_of(client: &Client, app: &AppName, prefix: &IdPrefix) -> Result<String, CommandError> {
    if let Some(id) = prefix.whole() {
        return Ok(id.to_owned());
    }
    let mut found: Vec<String> = Vec::new();
    let mut cursor = String::new();
    let mut seen = 0;
    for _ in 0..PAGES_MAX {
        let path = format!("apps/{}/executions?limit=1000{cursor}", app.as_str());
        let page: Executions = client.get(&path)?;
        seen += page.executions.len();
        let ids = page.executions.iter().map(|execution| execution.id.to_string());
        found.extend(ids.filter(|id| prefix.begins(id)));
        if let [first, second, ..] = found.as_slice() {
            let found = [first.clone(), second.clone()];
            return Err(FindError::Several { prefix: prefix.clone(), found }.into());
        }
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={}", escaped(&next)),
            None => break,
        }
    }
    let none = || FindError::None { prefix: prefix.clone(), seen: count(seen, "execution") };
    Ok(found.pop().ok_or_else(none)?)
}
