//! The table `objects`.
//!
//! SQLite binds no arrays, and a variable each would bound how many names may be asked for. So they are bound as one blob,
//! which `asked` cuts: of all that SQLite can take apart by itself the fastest.

use std::fmt::Write as _;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::Connections;
use super::apps::key;
use crate::OBJECTS_BYTES_MAX;
use crate::error::StoreError;
use crate::id::{AppId, Oid};
use crate::record::{Known, Object};
use crate::row::{self, signed};

pub(crate) async fn known(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<(Oid, Known)>, StoreError> {
    let found = sqlx::query(
        "WITH RECURSIVE asked (at) AS (SELECT 1 UNION ALL SELECT at + 20 FROM asked WHERE at + 20 < length(?2))
         SELECT oid, kind, depth FROM objects
         WHERE repository = (SELECT repository FROM apps WHERE id = ?1)
             AND oid IN (SELECT substr(?2, at, 20) FROM asked)",
    )
    .bind(key(app))
    .bind(names(oids))
    .map(|row: SqliteRow| Ok((row::key(row.try_get(0)?)?, row::known(row.try_get(1)?, row.try_get(2)?)?)));
    found.fetch_all(&connections.read).await?.into_iter().collect()
}

pub(crate) async fn objects(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Object>, StoreError> {
    // The length of a stream is read without the stream: what is left out costs next to nothing.
    let found = sqlx::query(
        "WITH RECURSIVE asked (at) AS (SELECT 1 UNION ALL SELECT at + 20 FROM asked WHERE at + 20 < length(?2))
         SELECT oid, kind, base, depth, size, zlib FROM (
             SELECT rowid AS row, sum(length(zlib)) OVER (ROWS UNBOUNDED PRECEDING) - length(zlib) AS bytes_ahead
             FROM objects
             WHERE repository = (SELECT repository FROM apps WHERE id = ?1)
                 AND oid IN (SELECT substr(?2, at, 20) FROM asked)
         ) AS found
         JOIN objects ON objects.rowid = found.row
         WHERE bytes_ahead < ?3",
    )
    .bind(key(app))
    .bind(names(oids))
    .bind(signed(OBJECTS_BYTES_MAX))
    .map(read);
    found.fetch_all(&connections.read).await?.into_iter().collect()
}

pub(crate) async fn objects_and_bases(
    connections: &Connections,
    app: AppId,
    oids: &[Oid],
) -> Result<Vec<Object>, StoreError> {
    // UNION drops what it has reached before, so that not even a circle is endless.
    let found = sqlx::query(
        "WITH RECURSIVE asked (at) AS (SELECT 1 UNION ALL SELECT at + 20 FROM asked WHERE at + 20 < length(?2)),
         reached (row, repository, base) AS (
             SELECT rowid, repository, base FROM objects
             WHERE repository = (SELECT repository FROM apps WHERE id = ?1)
                 AND oid IN (SELECT substr(?2, at, 20) FROM asked)
             UNION
             SELECT base.rowid, base.repository, base.base
             FROM reached JOIN objects AS base ON base.repository = reached.repository AND base.oid = reached.base
         )
         SELECT oid, kind, objects.base, depth, size, zlib FROM reached JOIN objects ON objects.rowid = reached.row",
    )
    .bind(key(app))
    .bind(names(oids))
    .map(read);
    found.fetch_all(&connections.read).await?.into_iter().collect()
}

pub(crate) async fn commits(
    connections: &Connections,
    app: AppId,
    after: Option<Oid>,
    most: u32,
) -> Result<Vec<Object>, StoreError> {
    let found = sqlx::query(
        "SELECT oid, kind, base, depth, size, zlib FROM objects
         WHERE repository = (SELECT repository FROM apps WHERE id = ?1) AND kind = 'commit' AND oid > ?2
         ORDER BY oid LIMIT ?3",
    )
    .bind(key(app))
    .bind(after.as_ref().map_or(&[][..], |oid| oid.as_bytes()))
    .bind(most)
    .map(read);
    found.fetch_all(&connections.read).await?.into_iter().collect()
}

/// Inserts those that are not there, within a transaction: all by one statement, which takes a quarter of the time that
/// one each would.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    app: AppId,
    objects: &[Object],
) -> Result<(), sqlx::Error> {
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
         SELECT (SELECT repository FROM apps WHERE id = ?1), unhex(value ->> 0), value ->> 1, unhex(value ->> 2),
             value ->> 3, value ->> 4, substr(?3, value ->> 5, value ->> 6)
         FROM json_each(?2) WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(key(app))
    .bind(rows)
    .bind(streams)
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: SqliteRow) -> Result<Object, StoreError> {
    row::object(
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
        row.try_get(5)?,
    )
}

/// The names behind each other.
fn names(oids: &[Oid]) -> Vec<u8> {
    oids.iter().flat_map(Oid::as_bytes).copied().collect()
}
