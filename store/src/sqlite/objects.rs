//! The table `objects`.
//!
//! SQLite cannot bind arrays, and one variable per name would limit their number. So they are bound as one blob,
//! which `requested` splits: about as fast as JSON at half the size.
//!
//! Names are looked up in the index only, and the table is read in storage order: objects that were pushed together
//! are stored together.

use std::fmt::Write as _;

use super::bulk_read::{self, COLUMNS};
use super::{Connection, Connections, object_decode, sql};
use crate::OBJECTS_BYTES_MAX;
use crate::delta_bases;
use crate::disk::{self, ROW_BYTES};
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::model::{Object, ObjectInfo, ObjectScan};
use crate::sql_types::signed;

macro_rules! requested {
    () => {
        "WITH RECURSIVE requested (at) AS (SELECT 1 UNION ALL SELECT at + 20 FROM requested WHERE at + 20 < length($2))"
    };
}

/// The names bound as `$2`, by offset …
const REQUESTED: &str = requested!();

/// … and their rows in the app `$1`.
const FOUND: &str = concat!(
    requested!(),
    ", found (row) AS (
        SELECT objects.rowid FROM apps CROSS JOIN requested CROSS JOIN objects
        ON objects.repository = apps.repository AND objects.oid = substr($2, at, 20)
        WHERE apps.id = $1
    )"
);

/// Unreachable objects count as missing: objects that they refer to may be deleted already.
pub(crate) async fn object_info(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<(Oid, ObjectInfo)>, StoreError> {
    let sql = sql!(
        "{FOUND}
         SELECT CAST(group_concat(oid, '') AS BLOB), group_concat(kind), group_concat(depth)
         FROM objects WHERE rowid IN (SELECT row FROM found) AND NOT EXISTS (
             SELECT 1 FROM unreachable_objects WHERE unreachable_objects.repository = objects.repository AND unreachable_objects.oid = objects.oid
         )"
    );
    let query = sqlx::query(sql).bind(app).bind(names(oids));
    bulk_read::info(&query.fetch_one(connections.reader()).await?)
}

pub(crate) async fn objects(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Object>, StoreError> {
    // Objects below this size cannot exceed the limit together, so they need no running sum.
    let small = OBJECTS_BYTES_MAX / oids.len().max(1) as u64;
    let sql = sql!(
        "{FOUND}
         SELECT {COLUMNS} FROM objects WHERE rowid IN (SELECT row FROM found) AND length(zlib) <= $3"
    );
    let query = sqlx::query(sql).bind(app).bind(names(oids)).bind(signed(small));
    let mut objects = bulk_read::read(connections.reader(), query).await?;
    let remaining = OBJECTS_BYTES_MAX.saturating_sub(delta_bases::bytes(&objects));
    if objects.len() < oids.len() && remaining > 0 {
        objects
            .extend(large_objects(connections, app, &delta_bases::unread(oids, &objects), remaining).await?);
    }
    Ok(objects)
}

/// Those of the objects that exist, as many as start within `remaining` bytes.
async fn large_objects(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
    remaining: u64,
) -> Result<Vec<Object>, StoreError> {
    // The length of a stream is read without the stream, so that skipped ones cost almost nothing.
    let sql = sql!(
        "{FOUND}
         SELECT {COLUMNS} FROM (
             SELECT rowid AS row, sum(length(zlib)) OVER (ROWS UNBOUNDED PRECEDING) - length(zlib) AS bytes_ahead
             FROM objects WHERE rowid IN (SELECT row FROM found)
         ) AS measured
         CROSS JOIN objects ON objects.rowid = measured.row
         WHERE bytes_ahead < $3"
    );
    let query = sqlx::query(sql).bind(app).bind(names(oids)).bind(signed(remaining));
    bulk_read::read(connections.reader(), query).await
}

pub(crate) async fn chains(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
    bytes_max: u64,
) -> Result<Vec<Object>, StoreError> {
    // UNION drops duplicates, so that even a cycle terminates. The whole result may be large, but no row is.
    let sql = sql!(
        "{FOUND},
         reached (row, repository, base) AS (
             SELECT rowid, repository, base FROM objects WHERE rowid IN (SELECT row FROM found)
             UNION
             SELECT base.rowid, base.repository, base.base
             FROM reached JOIN objects AS base ON base.repository = reached.repository AND base.oid = reached.base
         )
         SELECT oid, kind, objects.base, depth, size, zlib FROM (
             SELECT row, sum(length(zlib)) OVER (ROWS UNBOUNDED PRECEDING) - length(zlib) AS bytes_ahead
             FROM reached CROSS JOIN objects ON objects.rowid = reached.row
         ) AS measured
         CROSS JOIN objects ON objects.rowid = measured.row
         WHERE bytes_ahead < $3"
    );
    let query = sqlx::query(sql).bind(app).bind(names(oids)).bind(signed(bytes_max));
    let found = query.try_map(object_decode::object);
    Ok(found.fetch_all(connections.reader()).await?)
}

pub(crate) async fn commits(
    connections: &Connections,
    app: AppId,
    after: Option<Oid>,
    limit: u32,
) -> Result<Vec<Object>, StoreError> {
    let sql = sql!(
        "SELECT {COLUMNS} FROM objects WHERE rowid IN (
             SELECT row FROM (
                 SELECT row, sum(bytes) OVER (ORDER BY oid ROWS UNBOUNDED PRECEDING) - bytes AS bytes_ahead FROM (
                     SELECT rowid AS row, oid, length(zlib) AS bytes FROM objects
                     WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND kind = 'commit' AND oid > $2
                     ORDER BY oid LIMIT $3
                 )
             ) WHERE bytes_ahead < $4
         )"
    );
    let after = after.as_ref().map_or(&[][..], |oid| oid.as_bytes());
    let query = sqlx::query(sql).bind(app).bind(after).bind(limit).bind(signed(OBJECTS_BYTES_MAX));
    let mut commits = bulk_read::read(connections.reader(), query).await?;
    commits.sort_unstable_by_key(|commit| commit.oid);
    Ok(commits)
}

/// How many rows [`scan`] reads, and up to which size of a stream.
const SCAN_ROWS: u64 = 2048;
const SMALL_BYTES: u64 = OBJECTS_BYTES_MAX / SCAN_ROWS;

pub(crate) async fn scan(
    connections: &Connections,
    app: AppId,
    mut position: u64,
) -> Result<Option<ObjectScan>, StoreError> {
    if position == 0 {
        let first = sqlx::query_scalar(
            "SELECT min(rowid) FROM objects WHERE repository = (SELECT repository FROM apps WHERE id = $1)",
        );
        let first: Option<i64> = first.bind(app).fetch_one(connections.reader()).await?;
        position = first.and_then(|row| u64::try_from(row).ok()).unwrap_or_default();
    }
    // The unary plus prevents the index, which would visit the whole repository.
    let sql = sql!(
        "SELECT {COLUMNS} FROM objects
         WHERE rowid >= $2 AND rowid < $3 AND length(zlib) <= $4
             AND +repository = (SELECT repository FROM apps WHERE id = $1)"
    );
    let next = position.saturating_add(SCAN_ROWS);
    let query = sqlx::query(sql).bind(app).bind(signed(position));
    let query = query.bind(signed(next)).bind(signed(SMALL_BYTES));
    Ok(Some(ObjectScan { objects: bulk_read::read(connections.reader(), query).await?, next }))
}

/// Inserts the objects that are missing with one statement, four times as fast as one statement each. Returns by how
/// many bytes disk usage grows.
pub(super) async fn insert(
    connection: &mut Connection,
    app: AppId,
    objects: &[Object],
) -> Result<u64, sqlx::Error> {
    let oids: Vec<Oid> = objects.iter().map(|object| object.oid).collect();
    let known = known_bytes(&mut *connection, app, &oids).await?;
    // All streams are in one blob, and each row has an offset into it.
    let mut rows = String::from("[");
    let mut streams = Vec::with_capacity(objects.iter().map(|object| object.zlib.len()).sum());
    for Object { oid, kind, base, depth, size, zlib } in objects {
        let comma = if rows.len() > 1 { "," } else { "" };
        let base = base.map_or("null".to_owned(), |base| format!("\"{base}\""));
        let (kind, size, at) = (kind.as_str(), signed(*size), streams.len() + 1);
        let length = zlib.len();
        write!(rows, r#"{comma}["{oid}","{kind}",{base},{depth},{size},{at},{length}]"#).ok();
        streams.extend_from_slice(zlib);
    }
    rows.push(']');
    sqlx::query(
        "INSERT INTO objects (repository, oid, kind, base, depth, size, zlib)
         SELECT (SELECT repository FROM apps WHERE id = $1), unhex(value ->> 0), value ->> 1, unhex(value ->> 2),
             value ->> 3, value ->> 4, substr($3, value ->> 5, value ->> 6)
         FROM json_each($2) WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(app)
    .bind(rows)
    .bind(streams)
    .execute(&mut *connection)
    .await?;
    Ok(match known {
        0 => objects.iter().map(disk::object).sum(),
        // Existing objects keep their streams, which may have another size than the pushed ones.
        known => known_bytes(connection, app, &oids).await?.saturating_sub(known),
    })
}

/// The disk usage of those of the objects that exist. Cheaper than RETURNING for each insert.
async fn known_bytes(connection: &mut Connection, app: AppId, oids: &[Oid]) -> Result<u64, sqlx::Error> {
    let sql = sql!(
        "{FOUND}
         SELECT coalesce(sum(length(zlib) + {ROW_BYTES}), 0) FROM objects WHERE rowid IN (SELECT row FROM found)"
    );
    let bytes: i64 = sqlx::query_scalar(sql).bind(app).bind(names(oids)).fetch_one(connection).await?;
    Ok(bytes.unsigned_abs())
}

/// Deletes objects. Returns how many existed, and by how many bytes disk usage shrinks.
pub(super) async fn delete(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<(u64, u64), sqlx::Error> {
    let bytes = known_bytes(&mut *connection, app, oids).await?;
    let sql = sql!("{FOUND} DELETE FROM objects WHERE rowid IN (SELECT row FROM found)");
    let deleted = sqlx::query(sql).bind(app).bind(names(oids)).execute(connection).await?;
    Ok((deleted.rows_affected(), bytes))
}

/// Marks objects as unreachable.
pub(super) async fn mark_unreachable(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<(), sqlx::Error> {
    let sql = sql!(
        "{REQUESTED}
         INSERT INTO unreachable_objects (repository, oid)
         SELECT apps.repository, substr($2, at, 20) FROM apps CROSS JOIN requested WHERE apps.id = $1
         ON CONFLICT DO NOTHING"
    );
    sqlx::query(sql).bind(app).bind(names(oids)).execute(connection).await?;
    Ok(())
}

/// Removes the mark from these objects. Returns those that were marked.
pub(super) async fn unmark(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Oid>, sqlx::Error> {
    let sql = sql!(
        "{REQUESTED}
         DELETE FROM unreachable_objects
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND oid IN (SELECT substr($2, at, 20) FROM requested)
         RETURNING oid"
    );
    sqlx::query_scalar(sql).bind(app).bind(names(oids)).fetch_all(connection).await
}

/// The concatenated names.
fn names(oids: &[Oid]) -> Vec<u8> {
    oids.iter().flat_map(Oid::as_bytes).copied().collect()
}
