//! Decodes rows of `objects`.

use sqlx::Row as _;

use super::Database;
use crate::model::{Object, ObjectInfo};
use crate::sql_types::Unsigned;

type Row = <Database as sqlx::Database>::Row;

/// Decodes `oid, kind, base, depth, size, zlib` by position, which is faster than by name.
pub(in super::super) fn object(row: Row) -> Result<Object, sqlx::Error> {
    let ObjectInfo { kind, depth } = info(&row, 1, 3)?;
    let Unsigned(size) = row.try_get(4)?;
    Ok(Object { oid: row.try_get(0)?, kind, base: row.try_get(2)?, depth, size, zlib: row.try_get(5)? })
}

/// Decodes type and delta depth.
pub(in super::super) fn info(row: &Row, kind: usize, depth: usize) -> Result<ObjectInfo, sqlx::Error> {
    let Unsigned(depth) = row.try_get(depth)?;
    Ok(ObjectInfo { kind: row.try_get(kind)?, depth })
}
