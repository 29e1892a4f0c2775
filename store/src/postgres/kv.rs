//! Reads and writes of many entries of the state. A group is one statement, with each column as one array.

use super::connections::Connection;
use crate::id::NamespaceId;
use crate::sql_types::signed;
use crate::state::{NamespaceCommit, StateEntry, StateValue};

/// A condition for a column to be one of [`keys`], bound as `$3`.
pub(super) const IN_KEYS: &str = "= ANY ($3)";

/// Nothing is written before the version of its namespace was compared and set: writers of the same keys wait there,
/// and not for each other's rows.
const STORE: &str = "
    WITH stored AS (
        UPDATE kv_namespaces SET version = new_version, bytes = new_bytes, entries = new_entries
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS new (new_id, old_version, new_version, new_bytes, new_entries)
        WHERE id = new_id AND version = old_version AND deleted_at IS NULL RETURNING id
    ), put AS (
        INSERT INTO kv_entries (namespace, key, version, expires_at_ms, is_blob, value)
        SELECT namespace, key, version, expires_at_ms, is_blob, value
        FROM stored JOIN unnest($6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::boolean[], $11::bytea[])
            AS new (namespace, key, version, expires_at_ms, is_blob, value) ON namespace = id
        ON CONFLICT (namespace, key) DO UPDATE SET version = excluded.version,
            expires_at_ms = excluded.expires_at_ms, is_blob = excluded.is_blob, value = excluded.value
    ), deleted AS (
        DELETE FROM kv_entries USING stored, unnest($12::bigint[], $13::text[]) AS old (old_namespace, old_key)
        WHERE old_namespace = id AND namespace = old_namespace AND key = old_key
    )
    SELECT id FROM stored";

/// The keys as an array.
pub(super) fn keys<'k>(keys: &[&'k str]) -> Vec<&'k str> {
    keys.to_vec()
}

/// Stores those commits whose namespaces have the expected version, and returns their ids. If one is missing, the
/// transaction must be rolled back.
pub(super) async fn store(
    tx: &mut Connection,
    group: &[NamespaceCommit],
) -> Result<Vec<NamespaceId>, sqlx::Error> {
    fn each<T>(group: &[NamespaceCommit], read: impl Fn(&NamespaceCommit) -> T) -> Vec<T> {
        group.iter().map(read).collect()
    }
    fn each_put<'g, T>(puts: &[(NamespaceId, &'g StateEntry)], read: impl Fn(&'g StateEntry) -> T) -> Vec<T> {
        puts.iter().map(|(_, entry)| read(entry)).collect()
    }
    let ids = each(group, |commit| commit.id);
    if group.len() > 1 {
        // In the order of ids: groups that lock the same namespaces in another order would deadlock.
        sqlx::query("SELECT FROM kv_namespaces WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE")
            .bind(&ids)
            .execute(&mut *tx)
            .await?;
    }
    let puts = group.iter().flat_map(|commit| commit.puts.iter().map(|entry| (commit.id, entry)));
    let puts: Vec<(NamespaceId, &StateEntry)> = puts.collect();
    let deletes = group.iter().flat_map(|commit| commit.deletes.iter().map(|key| (commit.id, key.as_str())));
    let (deleted_from, deleted): (Vec<NamespaceId>, Vec<&str>) = deletes.unzip();
    sqlx::query_scalar(STORE)
        .bind(ids)
        .bind(each(group, |commit| signed(commit.from)))
        .bind(each(group, |commit| signed(commit.to)))
        .bind(each(group, |commit| signed(commit.bytes)))
        .bind(each(group, |commit| signed(commit.entries)))
        .bind(puts.iter().map(|(namespace, _)| *namespace).collect::<Vec<_>>())
        .bind(each_put(&puts, |entry| entry.key.as_str()))
        .bind(each_put(&puts, |entry| signed(entry.version)))
        .bind(each_put(&puts, |entry| entry.expires_at_ms))
        .bind(each_put(&puts, |entry| matches!(entry.value, StateValue::Blob(_))))
        .bind(each_put(&puts, |entry| entry.value.bytes()))
        .bind(deleted_from)
        .bind(deleted)
        .fetch_all(tx)
        .await
}
