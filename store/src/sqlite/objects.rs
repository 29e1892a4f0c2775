//! The table `objects`.
//!
//! SQLite binds no arrays, and a variable each would bound how many names may be asked for. So they are bound as one blob,
//! which `asked` cuts: hardly faster than JSON, and half as long.
//!
//! Names are looked up in the index alone, and the table is read in the order of its rows: what was pushed together lies
//! together.

use std::fmt::Write as _;

use super::together::{self, COLUMNS};
use super::{Connection, Connections, object_rows, sql};
use crate::OBJECTS_BYTES_MAX;
use crate::bases;
use crate::column::signed;
use crate::disk::{self, ROW_BYTES};
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::{Known, Object, Stored};

macro_rules! asked {
    () => {
        "WITH RECURSIVE asked (at) AS (SELECT 1 UNION ALL SELECT at + 20 FROM asked WHERE at + 20 < length($2))"
    };
}

/// The names that are bound as `$2`, by where each begins …
const ASKED: &str = asked!();

/// … and the rows that have them in the app `$1`.
const FOUND: &str = concat!(
    asked!(),
    ", found (row) AS (
        SELECT objects.rowid FROM apps CROSS JOIN asked CROSS JOIN objects
        ON objects.repository = apps.repository AND objects.oid = substr($2, at, 20)
        WHERE apps.id = $1
    )"
);

/// Condemned objects are not there: what they name and build on may be gone.
pub(crate) async fn known(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<(Oid, Known)>, StoreError> {
    let sql = sql!(
        "{FOUND}
         SELECT CAST(group_concat(oid, '') AS BLOB), group_concat(kind), group_concat(depth)
         FROM objects WHERE rowid IN (SELECT row FROM found) AND NOT EXISTS (
             SELECT 1 FROM condemned WHERE condemned.repository = objects.repository AND condemned.oid = objects.oid
         )"
    );
    let query = sqlx::query(sql).bind(app).bind(names(oids));
    together::known(&query.fetch_one(connections.reader()).await?)
}

pub(crate) async fn objects(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Object>, StoreError> {
    // So many small ones cannot be too many bytes, which spares adding them up.
    let small = OBJECTS_BYTES_MAX / oids.len().max(1) as u64;
    let sql = sql!(
        "{FOUND}
         SELECT {COLUMNS} FROM objects WHERE rowid IN (SELECT row FROM found) AND length(zlib) <= $3"
    );
    let query = sqlx::query(sql).bind(app).bind(names(oids)).bind(signed(small));
    let mut objects = together::read(connections.reader(), query).await?;
    let room = OBJECTS_BYTES_MAX.saturating_sub(bases::bytes(&objects));
    if objects.len() < oids.len() && room > 0 {
        objects.extend(large(connections, app, &bases::unread(oids, &objects), room).await?);
    }
    Ok(objects)
}

/// Those of the objects that are there, as many as begin within `room` bytes.
async fn large(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
    room: u64,
) -> Result<Vec<Object>, StoreError> {
    // The length of a stream is read without the stream: what is left out costs next to nothing.
    let sql = sql!(
        "{FOUND}
         SELECT {COLUMNS} FROM (
             SELECT rowid AS row, sum(length(zlib)) OVER (ROWS UNBOUNDED PRECEDING) - length(zlib) AS bytes_ahead
             FROM objects WHERE rowid IN (SELECT row FROM found)
         ) AS measured
         CROSS JOIN objects ON objects.rowid = measured.row
         WHERE bytes_ahead < $3"
    );
    let query = sqlx::query(sql).bind(app).bind(names(oids)).bind(signed(room));
    together::read(connections.reader(), query).await
}

pub(crate) async fn chains(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
    bytes_max: u64,
) -> Result<Vec<Object>, StoreError> {
    // UNION drops what it has reached before, so that not even a circle is endless. However large all of it is, no row is.
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
    let found = query.try_map(object_rows::object);
    Ok(found.fetch_all(connections.reader()).await?)
}

pub(crate) async fn commits(
    connections: &Connections,
    app: AppId,
    after: Option<Oid>,
    most: u32,
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
    let query = sqlx::query(sql).bind(app).bind(after).bind(most).bind(signed(OBJECTS_BYTES_MAX));
    let mut commits = together::read(connections.reader(), query).await?;
    commits.sort_unstable_by_key(|commit| commit.oid);
    Ok(commits)
}

/// How many rows [`stored`] looks at, and how many bytes of a stream are few.
const ROWS: u64 = 2048;
const FEW_BYTES: u64 = OBJECTS_BYTES_MAX / ROWS;

pub(crate) async fn stored(
    connections: &Connections,
    app: AppId,
    mut place: u64,
) -> Result<Option<Stored>, StoreError> {
    if place == 0 {
        let first = sqlx::query_scalar(
            "SELECT min(rowid) FROM objects WHERE repository = (SELECT repository FROM apps WHERE id = $1)",
        );
        let first: Option<i64> = first.bind(app).fetch_one(connections.reader()).await?;
        place = first.and_then(|row| u64::try_from(row).ok()).unwrap_or_default();
    }
    // The plus keeps SQLite from the index, by which it would go through the whole repository.
    let sql = sql!(
        "SELECT {COLUMNS} FROM objects
         WHERE rowid >= $2 AND rowid < $3 AND length(zlib) <= $4
             AND +repository = (SELECT repository FROM apps WHERE id = $1)"
    );
    let next = place.saturating_add(ROWS);
    let query = sqlx::query(sql).bind(app).bind(signed(place));
    let query = query.bind(signed(next)).bind(signed(FEW_BYTES));
    Ok(Some(Stored { objects: together::read(connections.reader(), query).await?, next }))
}

/// Inserts those that are not there, within a transaction: all by one statement, which takes a quarter of the time that
/// one each would. Returns how many bytes of the disk they take.
pub(super) async fn insert(
    connection: &mut Connection,
    app: AppId,
    objects: &[Object],
) -> Result<u64, sqlx::Error> {
    let oids: Vec<Oid> = objects.iter().map(|object| object.oid).collect();
    let known = known_bytes(&mut *connection, app, &oids).await?;
    // The streams lie in one blob behind each other, and each row says where its own is.
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
        // What was there stays as it was stored, which may be longer or shorter than what came.
        known => known_bytes(connection, app, &oids).await?.saturating_sub(known),
    })
}

/// How many bytes those of the objects take that are there. It costs less than to have each of those named that were inserted.
async fn known_bytes(connection: &mut Connection, app: AppId, oids: &[Oid]) -> Result<u64, sqlx::Error> {
    let sql = sql!(
        "{FOUND}
         SELECT coalesce(sum(length(zlib) + {ROW_BYTES}), 0) FROM objects WHERE rowid IN (SELECT row FROM found)"
    );
    let bytes: i64 = sqlx::query_scalar(sql).bind(app).bind(names(oids)).fetch_one(connection).await?;
    Ok(bytes.unsigned_abs())
}

/// Deletes those that are there, within a transaction. Returns how many those were, and how many bytes of the disk they took.
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

/// Condemns objects, within a transaction.
pub(super) async fn condemn(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<(), sqlx::Error> {
    let sql = sql!(
        "{ASKED}
         INSERT INTO condemned (repository, oid)
         SELECT apps.repository, substr($2, at, 20) FROM apps CROSS JOIN asked WHERE apps.id = $1
         ON CONFLICT DO NOTHING"
    );
    sqlx::query(sql).bind(app).bind(names(oids)).execute(connection).await?;
    Ok(())
}

/// Condemns these objects no longer, within a transaction. Returns those that were.
pub(super) async fn readmit(
    connection: &mut Connection,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Oid>, sqlx::Error> {
    let sql = sql!(
        "{ASKED}
         DELETE FROM condemned
         WHERE repository = (SELECT repository FROM apps WHERE id = $1) AND oid IN (SELECT substr($2, at, 20) FROM asked)
         RETURNING oid"
    );
    sqlx::query_scalar(sql).bind(app).bind(names(oids)).fetch_all(connection).await
}

/// The names behind each other.
fn names(oids: &[Oid]) -> Vec<u8> {
    oids.iter().flat_map(Oid::as_bytes).copied().collect()
}
