//! The table `objects`.
//!
//! Objects are looked up one by one, in a LATERAL query with a LIMIT that prevents a join: without statistics, as
//! right after a large push, the planner would scan a whole repository for a thousand names.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::connections::{Connection, Connections};
use super::{object_decode, sql};
use crate::OBJECTS_BYTES_MAX;
use crate::disk::ROW_BYTES;
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::model::{Object, ObjectInfo, ObjectScan};
use crate::sql_types::{Unsigned, signed};

/// Unreachable objects count as missing: objects that they refer to may be deleted already.
pub(crate) async fn object_info(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<(Oid, ObjectInfo)>, StoreError> {
    let found = sqlx::query(
        "SELECT requested.oid, kind, depth
         FROM apps, unnest($2::bytea[]) AS requested (oid), LATERAL (
             SELECT kind, depth FROM objects
             WHERE objects.repository = apps.repository AND objects.oid = requested.oid AND NOT EXISTS (
                 SELECT FROM unreachable_objects
                 WHERE unreachable_objects.repository = apps.repository AND unreachable_objects.oid = requested.oid LIMIT 1
             ) LIMIT 1
         ) AS found
         WHERE apps.id = $1",
    )
    .bind(app)
    .bind(keys(oids))
    .try_map(|row: PgRow| Ok((row.try_get(0)?, object_decode::info(&row, 1, 2)?)));
    Ok(found.fetch_all(connections).await?)
}

pub(crate) async fn objects(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Object>, StoreError> {
    // The length of a stream is read without the stream, so that skipped ones cost almost nothing.
    let found = sqlx::query(
        "SELECT oid, kind, base, depth, size, zlib FROM (
             SELECT found.*, sum(length(zlib)) OVER (ROWS UNBOUNDED PRECEDING) - length(zlib) AS bytes_ahead
             FROM apps, unnest($2::bytea[]) AS requested (oid), LATERAL (
                 SELECT * FROM objects
                 WHERE objects.repository = apps.repository AND objects.oid = requested.oid LIMIT 1
             ) AS found
             WHERE apps.id = $1
         ) AS found
         WHERE bytes_ahead < $3",
    )
    .bind(app)
    .bind(keys(oids))
    .bind(signed(OBJECTS_BYTES_MAX))
    .try_map(object_decode::object);
    Ok(found.fetch_all(connections).await?)
}

pub(crate) async fn chains(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
    bytes_max: u64,
) -> Result<Vec<Object>, StoreError> {
    // UNION drops duplicates, so that even a cycle terminates.
    let found = sqlx::query(
        "WITH RECURSIVE reached (repository, oid, base) AS (
             SELECT apps.repository, requested.oid, found.base
             FROM apps, unnest($2::bytea[]) AS requested (oid), LATERAL (
                 SELECT base FROM objects
                 WHERE objects.repository = apps.repository AND objects.oid = requested.oid LIMIT 1
             ) AS found
             WHERE apps.id = $1
             UNION
             SELECT reached.repository, reached.base, found.base
             FROM reached, LATERAL (
                 SELECT base FROM objects
                 WHERE objects.repository = reached.repository AND objects.oid = reached.base LIMIT 1
             ) AS found
         )
         SELECT oid, kind, base, depth, size, zlib FROM (
             SELECT found.*, sum(length(zlib)) OVER (ROWS UNBOUNDED PRECEDING) - length(zlib) AS bytes_ahead
             FROM reached, LATERAL (
                 SELECT * FROM objects
                 WHERE objects.repository = reached.repository AND objects.oid = reached.oid LIMIT 1
             ) AS found
         ) AS found
         WHERE bytes_ahead < $3",
    )
    .bind(app)
    .bind(keys(oids))
    .bind(signed(bytes_max))
    .try_map(object_decode::object);
    Ok(found.fetch_all(connections).await?)
}

pub(crate) async fn commits(
    connections: &Connections,
    app: AppId,
    after: Option<Oid>,
    limit: u32,
) -> Result<Vec<Object>, StoreError> {
    let found = sqlx::query(
        "SELECT oid, kind, base, depth, size, zlib FROM (
             SELECT *, sum(length(zlib)) OVER (ORDER BY oid ROWS UNBOUNDED PRECEDING) - length(zlib) AS bytes_ahead FROM (
                 SELECT * FROM objects
                 WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND kind = 'commit' AND oid > $2
                 ORDER BY oid LIMIT $3
             ) AS page
         ) AS page
         WHERE bytes_ahead < $4 ORDER BY oid",
    )
    .bind(app)
    .bind(after.as_ref().map_or(&[][..], |oid| oid.as_bytes()))
    .bind(i64::from(limit))
    .bind(signed(OBJECTS_BYTES_MAX))
    .try_map(object_decode::object);
    Ok(found.fetch_all(connections).await?)
}

/// PostgreSQL has no storage order that can be queried.
pub(crate) async fn scan(_: &Connections, _: AppId, _: u64) -> Result<Option<ObjectScan>, StoreError> {
    Ok(None)
}

/// Inserts the objects that are missing. Returns by how many bytes disk usage grows.
pub(super) async fn insert(
    connection: &mut Connection,
    app: AppId,
    objects: &[Object],
) -> Result<u64, sqlx::Error> {
    let oids: Vec<&[u8]> = objects.iter().map(|object| object.oid.as_bytes().as_slice()).collect();
    let kinds: Vec<&str> = objects.iter().map(|object| object.kind.as_str()).collect();
    let bases: Vec<Option<&[u8]>> =
        objects.iter().map(|object| object.base.as_ref().map(|base| base.as_bytes().as_slice())).collect();
    let depths: Vec<i64> = objects.iter().map(|object| object.depth.into()).collect();
    let sizes: Vec<i64> = objects.iter().map(|object| signed(object.size)).collect();
    let streams: Vec<&[u8]> = objects.iter().map(|object| object.zlib.as_slice()).collect();
    let Unsigned(bytes) = sqlx::query_scalar(sql!(
        "WITH inserted AS (
             INSERT INTO objects (repository, oid, kind, base, depth, size, zlib)
             SELECT (SELECT repository FROM apps WHERE id = $1), *
             FROM unnest($2::bytea[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[])
             ON CONFLICT DO NOTHING RETURNING length(zlib) + {ROW_BYTES} AS bytes
         )
         SELECT coalesce(sum(bytes), 0)::bigint FROM inserted"
    ))
    .bind(app)
    .bind(oids)
    .bind(kinds)
    .bind(bases)
    .bind(depths)
    .bind(sizes)
    .bind(streams)
    .fetch_one(connection)
    .await?;
    Ok(bytes)
}

/// Deletes objects. Returns how many existed, and by how many bytes disk usage shrinks.
pub(super) async fn delete(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<(u64, u64), sqlx::Error> {
    let (Unsigned(rows), Unsigned(bytes)) = sqlx::query_as(sql!(
        "WITH deleted AS (
             DELETE FROM objects
             WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND oid = ANY ($2)
             RETURNING length(zlib) + {ROW_BYTES} AS bytes
         )
         SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM deleted"
    ))
    .bind(app)
    .bind(keys(oids))
    .fetch_one(connection)
    .await?;
    Ok((rows, bytes))
}

/// Marks objects as unreachable.
pub(super) async fn mark_unreachable(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO unreachable_objects (repository, oid)
         SELECT apps.repository, requested.oid FROM apps, unnest($2::bytea[]) AS requested (oid) WHERE apps.id = $1
         ON CONFLICT DO NOTHING",
    )
    .bind(app)
    .bind(keys(oids))
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the mark from these objects. Returns those that were marked.
pub(super) async fn unmark(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Oid>, sqlx::Error> {
    let unmarked = sqlx::query_scalar(
        "DELETE FROM unreachable_objects
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND oid = ANY ($2) RETURNING oid",
    );
    unmarked.bind(app).bind(keys(oids)).fetch_all(connection).await
}

/// The distinct names in index order, which is cheaper here than in PostgreSQL.
fn keys(oids: &[Oid]) -> Vec<&[u8]> {
    let mut keys: Vec<&[u8]> = oids.iter().map(|oid| oid.as_bytes().as_slice()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
