//! The table of audit events.

use super::short_commit;
use super::table::table;
use super::when::when;
use crate::api_types::AuditEvent;

/// The table of audit events.
pub(crate) fn list(events: &[AuditEvent]) -> String {
    if events.is_empty() {
        return "no audit events\n".to_owned();
    }
    let row = |event: &AuditEvent| {
        let actor = if event.token.is_some() {
            event.actor.clone()
        } else {
            format!("{} (admin token)", event.actor)
        };
        let from = event.address.clone().unwrap_or_else(|| "-".to_owned());
        let app = event.app.clone().unwrap_or_else(|| "-".to_owned());
        vec![when(event.at), actor, from, event.action.clone(), app, event.subject.clone(), change(event)]
    };
    let rows: Vec<_> = events.iter().map(row).collect();
    table(&["WHEN", "ACTOR", "FROM", "ACTION", "APP", "SUBJECT", "CHANGE"], &rows)
}

fn change(event: &AuditEvent) -> String {
    let is_commit = event.action == "push";
    let shown = |value: &str| if is_commit { short_commit(value).to_owned() } else { value.to_owned() };
    let change = match (&event.old, &event.new) {
        (None, None) => String::new(),
        (None, Some(new)) => shown(new),
        (Some(old), None) => format!("{} -> deleted", shown(old)),
        (Some(old), Some(new)) => format!("{} -> {}", shown(old), shown(new)),
    };
    match event.deploy {
        Some(deploy) => format!("{change} as deploy {deploy}").trim_start().to_owned(),
        None => change,
    }
}
