//! Reads and writes of many entries of the state.
//!
//! A group is a few statements: the namespaces, and the deleted keys of each, are bound as one JSON text, and entries are
//! inserted in batches of a few sizes, so that prepared statements are reused.

use std::fmt::Write as _;

use sqlx::QueryBuilder;

use super::{Connection, Connections};
use crate::id::NamespaceId;
use crate::sql_types::signed;
use crate::state::{CommitError, NamespaceCommit, StateEntry, StatePosition, StateValue};

/// A condition for a column to be one of [`keys`], bound as `$3`.
pub(super) const IN_KEYS: &str = "IN (SELECT value FROM json_each($3))";

/// How many entries one statement inserts.
const BATCH_ROWS: [usize; 4] = [256, 32, 4, 1];

/// The keys as a JSON array.
pub(super) fn keys(keys: &[&str]) -> String {
    json_array(keys.iter(), |json, key| push_text(json, key))
}

/// Commits a group in one statement, where there is one.
#[expect(clippy::unused_async, reason = "that of PostgreSQL waits")]
pub(super) async fn commit_at_once(
    _: &Connections,
    _: &[NamespaceCommit],
) -> Option<Result<(), CommitError>> {
    None
}

/// Stores those commits whose namespaces have the expected version, and returns their ids. If one is missing, the
/// transaction must be rolled back.
pub(super) async fn store(
    tx: &mut Connection,
    group: &[NamespaceCommit],
) -> Result<Vec<NamespaceId>, sqlx::Error> {
    let stored = advance(tx, group).await?;
    if stored.len() < group.len() {
        return Ok(stored);
    }
    let puts = group.iter().flat_map(|commit| commit.puts.iter().map(|entry| (commit.id, entry)));
    put(tx, &puts.collect::<Vec<_>>()).await?;
    for commit in group.iter().filter(|commit| !commit.deletes.is_empty()) {
        delete(tx, commit).await?;
    }
    Ok(stored)
}

/// Compares and sets the positions.
async fn advance(tx: &mut Connection, group: &[NamespaceCommit]) -> Result<Vec<NamespaceId>, sqlx::Error> {
    let commits = json_array(group.iter(), |json, commit| {
        let (from, to) = (signed(commit.from.version), signed(commit.to.version));
        let (bytes, entries) = (signed(commit.bytes), signed(commit.entries));
        let id = |position: StatePosition| match position.commit {
            Some(id) => format!("\"{}\"", id.as_uuid().hyphenated()),
            None => "null".to_owned(),
        };
        let (old, new) = (id(commit.from), id(commit.to));
        write!(json, "[{},{from},{to},{bytes},{entries},{old},{new}]", commit.id).ok();
    });
    sqlx::query_scalar(
        "UPDATE kv_namespaces
         SET version = new_version, commit_id = new_commit, bytes = new_bytes, entries = new_entries
         FROM (SELECT value ->> 0 AS new_id, value ->> 1 AS old_version, value ->> 2 AS new_version,
             value ->> 3 AS new_bytes, value ->> 4 AS new_entries, value ->> 5 AS old_commit, value ->> 6 AS new_commit
             FROM json_each($1))
         WHERE id = new_id AND version = old_version AND commit_id IS old_commit AND deleted_at IS NULL RETURNING id",
    )
    .bind(commits)
    .fetch_all(tx)
    .await
}

async fn put(tx: &mut Connection, mut puts: &[(NamespaceId, &StateEntry)]) -> Result<(), sqlx::Error> {
    while let Some(rows) = BATCH_ROWS.into_iter().find(|rows| *rows <= puts.len()) {
        let (batch, left) = puts.split_at(rows);
        let mut query = QueryBuilder::new(
            "INSERT INTO kv_entries (namespace, key, version, expires_at_ms, is_blob, value) ",
        );
        query.push_values(batch, |mut row, (namespace, entry)| {
            row.push_bind(namespace)
                .push_bind(&entry.key)
                .push_bind(signed(entry.version))
                .push_bind(entry.expires_at_ms)
                .push_bind(matches!(entry.value, StateValue::Blob(_)))
                .push_bind(entry.value.bytes());
        });
        query.push(
            " ON CONFLICT (namespace, key) DO UPDATE SET version = excluded.version,
                 expires_at_ms = excluded.expires_at_ms, is_blob = excluded.is_blob, value = excluded.value",
        );
        query.build().execute(&mut *tx).await?;
        puts = left;
    }
    Ok(())
}

/// One statement for each namespace: for pairs of namespace and key, SQLite would read the whole namespace.
async fn delete(tx: &mut Connection, commit: &NamespaceCommit) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM kv_entries WHERE namespace = $1 AND key IN (SELECT value FROM json_each($2))")
        .bind(commit.id)
        .bind(json_array(commit.deletes.iter(), |json, key| push_text(json, key)))
        .execute(tx)
        .await?;
    Ok(())
}

fn json_array<T>(items: impl Iterator<Item = T>, push: impl Fn(&mut String, T)) -> String {
    let mut json = "[".to_owned();
    for (at, item) in items.enumerate() {
        if at > 0 {
            json.push(',');
        }
        push(&mut json, item);
    }
    json.push(']');
    json
}

/// Adds a JSON string.
fn push_text(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..='\x1f' => write!(json, "\\u{:04x}", u32::from(character)).unwrap_or_default(),
            character => json.push(character),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_read_as_written() {
        use sqlx::Connection as _;
        let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let texts = ["plain", "\"quoted\\", "\u{1}\n\u{1f}\u{7f}", "äöü \u{2028} 😀", "1", "null"];
        let read: Vec<String> = sqlx::query_scalar("SELECT value FROM json_each($1)")
            .bind(keys(&texts))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        assert_eq!(read, texts);
    }
}
