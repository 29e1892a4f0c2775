//! Rows of `objects`.

use sqlx::Row as _;

use super::Database;
use crate::column::Unsigned;
use crate::record::{Known, Object};

type Row = <Database as sqlx::Database>::Row;

/// Reads `oid, kind, base, depth, size, zlib`, by their places: there are many rows, and a name is looked up for each.
pub(in super::super) fn object(row: Row) -> Result<Object, sqlx::Error> {
    let Known { kind, depth } = known(&row, 1, 3)?;
    let Unsigned(size) = row.try_get(4)?;
    Ok(Object { oid: row.try_get(0)?, kind, base: row.try_get(2)?, depth, size, zlib: row.try_get(5)? })
}

/// Reads what is known of an object without reading it.
pub(in super::super) fn known(row: &Row, kind: usize, depth: usize) -> Result<Known, sqlx::Error> {
    let Unsigned(depth) = row.try_get(depth)?;
    Ok(Known { kind: row.try_get(kind)?, depth })
}
