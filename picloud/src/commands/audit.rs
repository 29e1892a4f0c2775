//! `picloud audit`: who did what, when and from where.

use super::error::CommandError;
use super::output::{more, page, show};
use crate::cli::AuditOptions;
use crate::client::Client;
use crate::rest::{Act, Audit};
use crate::words::short_commit;
use crate::words::table::table;
use crate::words::when::when;

pub(crate) fn audit(options: &AuditOptions) -> Result<(), CommandError> {
    let app = options.app.as_ref().map(|app| format!("&app={}", app.as_str())).unwrap_or_default();
    let path = format!("audit?{}{app}", page(&options.page));
    let audit: Audit = Client::find(&options.client)?.get(&path)?;
    show(&audit, options.client.json, words)
}

fn words(audit: &Audit) -> String {
    if audit.acts.is_empty() {
        return "Nothing was done yet.\n".to_owned();
    }
    let row = |act: &Act| {
        let who = if act.token.is_some() { act.who.clone() } else { format!("{} (admin token)", act.who) };
        let from = act.address.clone().unwrap_or_else(|| "-".to_owned());
        let app = act.app.clone().unwrap_or_else(|| "-".to_owned());
        vec![when(act.at), who, from, act.action.clone(), app, act.subject.clone(), change(act)]
    };
    let rows: Vec<_> = audit.acts.iter().map(row).collect();
    let mut text = table(&["WHEN", "WHO", "FROM", "ACTION", "APP", "WHAT", "CHANGE"], &rows);
    text += more(audit.next_cursor.as_deref()).as_str();
    text
}

fn change(act: &Act) -> String {
    let is_commit = act.action == "push";
    let shown = |value: &str| if is_commit { short_commit(value).to_owned() } else { value.to_owned() };
    let change = match (&act.old, &act.new) {
        (None, None) => String::new(),
        (None, Some(new)) => shown(new),
        (Some(old), None) => format!("{} -> gone", shown(old)),
        (Some(old), Some(new)) => format!("{} -> {}", shown(old), shown(new)),
    };
    match act.deploy {
        Some(deploy) => format!("{change} as deploy {deploy}").trim_start().to_owned(),
        None => change,
    }
}
