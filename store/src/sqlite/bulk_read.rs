//! Reads many rows of `objects` as one row: sqlx needs more time for each row and column than SQLite does.
//!
//! Each column is the concatenation of all rows. `group_concat` keeps the bytes of blobs, because the encoding of the
//! database is UTF-8. All columns are built in one pass, so that their rows are in the same order.

use std::str::FromStr;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqlitePool};

use crate::error::StoreError;
use crate::id::Oid;
use crate::model::{Object, ObjectInfo, ObjectKind};
use crate::sql_types;

/// The selected columns, NULL without rows. Only a delta has a base and a depth.
pub(super) const COLUMNS: &str = "
    CAST(group_concat(oid, '') AS BLOB), group_concat(kind), CAST(group_concat(base, '') AS BLOB), group_concat(depth),
    group_concat(size), group_concat(length(zlib)), CAST(group_concat(zlib, '') AS BLOB)";

type Query<'q> = sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;

/// Runs a query for [`COLUMNS`] and splits the result into objects.
pub(super) async fn read(pool: &SqlitePool, query: Query<'_>) -> Result<Vec<Object>, StoreError> {
    split(&query.fetch_one(pool).await?)
}

fn split(row: &SqliteRow) -> Result<Vec<Object>, StoreError> {
    let mut oids = bytes(row, 0)?;
    let kinds: Option<&str> = row.try_get(1)?;
    let mut bases = bytes(row, 2)?;
    let (mut depths, mut sizes, mut lengths) = (numbers(row, 3)?, numbers(row, 4)?, numbers(row, 5)?);
    let mut streams = bytes(row, 6)?;
    let mut objects = Vec::with_capacity(oids.len() / 20);
    for kind in kinds.into_iter().flat_map(|kinds| kinds.split(',')) {
        let oid = name(&mut oids)?;
        let depth = next(&mut depths)?;
        let base = if depth > 0 { Some(name(&mut bases)?) } else { None };
        let size = next(&mut sizes)?;
        let length = next(&mut lengths)?;
        let zlib = take(&mut streams, length)?.to_vec();
        objects.push(Object { oid, kind: self::kind(kind)?, base, depth, size, zlib });
    }
    // A name of another length would have shifted later ones.
    if oids.is_empty() && bases.is_empty() && streams.is_empty() {
        Ok(objects)
    } else {
        Err(length_mismatch())
    }
}

/// Splits a result of names, types and depths.
pub(super) fn info(row: &SqliteRow) -> Result<Vec<(Oid, ObjectInfo)>, StoreError> {
    let mut oids = bytes(row, 0)?;
    let kinds: Option<&str> = row.try_get(1)?;
    let mut depths = numbers(row, 2)?;
    let mut known = Vec::with_capacity(oids.len() / 20);
    for kind in kinds.into_iter().flat_map(|kinds| kinds.split(',')) {
        known.push((name(&mut oids)?, ObjectInfo { kind: self::kind(kind)?, depth: next(&mut depths)? }));
    }
    if oids.is_empty() { Ok(known) } else { Err(length_mismatch()) }
}

fn bytes(row: &SqliteRow, column: usize) -> Result<&[u8], StoreError> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    Ok(bytes.unwrap_or_default())
}

/// The comma-separated numbers of a column.
fn numbers(row: &SqliteRow, column: usize) -> Result<impl Iterator<Item = &str>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.unwrap_or_default().split(','))
}

fn name(oids: &mut &[u8]) -> Result<Oid, StoreError> {
    sql_types::oid(take(oids, 20)?).map_err(|_| length_mismatch())
}

fn kind(name: &str) -> Result<ObjectKind, StoreError> {
    ObjectKind::parse(name).ok_or_else(|| StoreError::Corrupt { what: format!("objects: kind {name}") })
}

fn next<'a, N: FromStr>(numbers: &mut impl Iterator<Item = &'a str>) -> Result<N, StoreError> {
    numbers.next().and_then(|number| number.parse().ok()).ok_or_else(length_mismatch)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], StoreError> {
    bytes.split_off(..length).ok_or_else(length_mismatch)
}

fn length_mismatch() -> StoreError {
    StoreError::Corrupt { what: "objects: columns of different lengths".to_owned() }
}
