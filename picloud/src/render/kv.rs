//! The state of an app.

use super::table::table;
use super::when::when;
use super::{printable, size};
use crate::api_types::{KvEntry, KvImported, KvNamespace};

/// How much of a value a table shows, in characters.
const VALUE_MAX: usize = 60;

/// The value of an entry, as JSON.
pub(crate) fn value(entry: &KvEntry) -> String {
    match (&entry.value, &entry.blob) {
        (Some(value), _) => format!("{}\n", value.get()),
        (None, blob) => format!("{}\n", blob.as_deref().unwrap_or_default()),
    }
}

/// One key a line.
pub(crate) fn keys(entries: &[KvEntry]) -> String {
    entries.iter().map(|entry| printable(&entry.key) + "\n").collect()
}

/// The table of entries.
pub(crate) fn list(entries: &[KvEntry]) -> String {
    if entries.is_empty() {
        return "no keys\n".to_owned();
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let text = match &entry.value {
                Some(value) => value.get(),
                None => "a blob",
            };
            let shown = match text.char_indices().nth(VALUE_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text.to_owned(),
            };
            let expires = entry.expires_at.map(when).unwrap_or_default();
            vec![printable(&entry.key), printable(&shown), expires]
        })
        .collect();
    table(&["KEY", "VALUE", "EXPIRES"], &rows)
}

pub(crate) fn set(key: &str) -> String {
    format!("set {}\n", printable(key))
}

pub(crate) fn deleted(key: &str) -> String {
    format!("deleted {}\n", printable(key))
}

pub(crate) fn imported(imported: &KvImported) -> String {
    let entries = |number| if number == 1 { "entry" } else { "entries" };
    let KvImported { keys, expired } = *imported;
    let text = format!("imported {keys} {}", entries(keys));
    match expired {
        0 => text + "\n",
        _ => format!("{text}; left out {expired} {}, which ended\n", entries(expired)),
    }
}

/// The table of namespaces, and their keys with conflicts.
pub(crate) fn usage(namespaces: &[KvNamespace]) -> String {
    if namespaces.is_empty() {
        return "no state\n".to_owned();
    }
    let name = |namespace: &KvNamespace| match &namespace.branch {
        Some(branch) => printable(branch),
        None => "production".to_owned(),
    };
    let rows: Vec<Vec<String>> = namespaces
        .iter()
        .map(|namespace| {
            vec![
                name(namespace),
                size(namespace.bytes),
                size(namespace.quota_bytes),
                namespace.entries.to_string(),
                namespace.commits.to_string(),
            ]
        })
        .collect();
    let mut text = table(&["STATE", "SIZE", "QUOTA", "KEYS", "COMMITS"], &rows);
    let conflicts: Vec<Vec<String>> = namespaces
        .iter()
        .flat_map(|namespace| {
            let row = |key: &str, count: u64| vec![name(namespace), printable(key), count.to_string()];
            namespace
                .conflicts
                .iter()
                .map(move |conflict| row(&conflict.key, conflict.count))
                .collect::<Vec<_>>()
        })
        .collect();
    if !conflicts.is_empty() {
        text += "\nExecutions that ran again, by the key that had changed:\n";
        text += &table(&["STATE", "KEY", "TIMES"], &conflicts);
    }
    text
}
