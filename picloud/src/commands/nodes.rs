//! `picloud nodes`: who is there, and what each of them serves.

use chrono::{DateTime, TimeDelta, Utc};

use super::error::CommandError;
use super::output::show;
use crate::client::{Client, ClientOptions};
use crate::rest::{Node, Nodes};
use crate::words::table::table;

pub(crate) fn nodes(options: &ClientOptions) -> Result<(), CommandError> {
    let nodes: Nodes = Client::find(options)?.get("nodes")?;
    show(&nodes, options.json, |nodes| words(nodes, Utc::now()))
}

fn words(nodes: &Nodes, now: DateTime<Utc>) -> String {
    let rows: Vec<Vec<String>> = nodes
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.name.clone(),
                node.role.clone(),
                node.version.clone(),
                node.address.clone(),
                span(now - node.started_at),
                format!("{} of {} apps", node.apps_current, node.apps_current + node.apps_behind),
                node.serving_since
                    .map_or_else(|| "-".to_owned(), |since| format!("{} ago", span(now - since))),
                state(node),
            ]
        })
        .collect();
    table(&["NODE", "ROLE", "VERSION", "ADDRESS", "UP", "SERVES", "LATEST", "STATE"], &rows)
}

fn state(node: &Node) -> String {
    node.trouble.as_ref().map_or_else(|| "ready".to_owned(), |trouble| format!("not ready: {trouble}"))
}

/// A span of time in its largest unit.
fn span(time: TimeDelta) -> String {
    match time.num_seconds().max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
