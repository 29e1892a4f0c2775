//! The table of nodes.

use chrono::TimeDelta;

use super::table::table;
use super::when::now;
use crate::api_types::Node;

/// The table of nodes.
pub(crate) fn list(nodes: &[Node]) -> String {
    let now = now();
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            vec![
                node.name.clone(),
                node.role.clone(),
                node.version.clone(),
                node.address.clone(),
                duration(now - node.started_at),
                format!("{} of {} apps", node.apps_up_to_date, node.apps_up_to_date + node.apps_stale),
                node.serving_since
                    .map_or_else(|| "-".to_owned(), |since| format!("{} ago", duration(now - since))),
                state(node),
            ]
        })
        .collect();
    table(&["NODE", "ROLE", "VERSION", "ADDRESS", "UP", "SERVES", "LATEST", "STATE"], &rows)
}

fn state(node: &Node) -> String {
    node.not_ready_reason.as_ref().map_or_else(|| "ready".to_owned(), |reason| format!("not ready: {reason}"))
}

/// A duration in its largest unit.
fn duration(time: TimeDelta) -> String {
    match time.num_seconds().max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
