//! Rows in transit between databases, and their encoding in SQLite.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::tables::{ColumnType, Table};

/// How many rows a batch holds: SQLite binds at most 32,766 values in one statement …
const ROWS_MAX: usize = 500;

/// … and about how many bytes.
const BYTES_MAX: usize = 4 << 20;

/// The value of a column.
#[derive(Debug)]
pub(crate) enum Value {
    Id(Option<Uuid>),
    Time(Option<DateTime<Utc>>),
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Bool(Option<bool>),
}

/// A batch of rows of one table.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl Batch {
    pub(crate) fn add(&mut self, row: Vec<Value>) {
        self.bytes += row.iter().map(Value::size).sum::<usize>();
        self.rows.push(row);
    }

    /// Whether the batch has to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }
}

/// Accessors, `None` for NULL and for other types.
impl Value {
    pub(crate) fn id(&self) -> Option<Uuid> {
        if let Self::Id(id) = self { *id } else { None }
    }

    pub(crate) fn time(&self) -> Option<DateTime<Utc>> {
        if let Self::Time(time) = self { *time } else { None }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { text.as_deref() } else { None }
    }

    pub(crate) fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { *number } else { None }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { bytes.as_deref() } else { None }
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { *value } else { None }
    }

    fn size(&self) -> usize {
        self.text().map_or(0, str::len) + self.bytes().map_or(0, <[u8]>::len)
    }
}

/// Decodes a row of [`Table::columns`] from SQLite.
pub(crate) fn from_sqlite(table: &Table, row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let read = |(at, (_, kind)): (usize, &(&str, ColumnType))| {
        Ok(match kind {
            ColumnType::Id => {
                let text: Option<&str> = row.try_get(at)?;
                Value::Id(text.map(Uuid::parse_str).transpose().map_err(|error| unreadable(at, error))?)
            }
            ColumnType::Time => Value::Time(row.try_get(at)?),
            ColumnType::Text => Value::Text(row.try_get(at)?),
            ColumnType::Number => Value::Number(row.try_get(at)?),
            ColumnType::Bytes => Value::Bytes(row.try_get(at)?),
            ColumnType::Bool => Value::Bool(row.try_get(at)?),
        })
    };
    columns.map(read).collect()
}

fn unreadable(at: usize, error: uuid::Error) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: at.to_string(), source: Box::new(error) }
}

/// Inserts a batch with one statement.
pub(crate) async fn insert_into_sqlite(
    connection: &mut SqliteConnection,
    table: &Table,
    batch: Batch,
) -> Result<(), sqlx::Error> {
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", table.name, table.names());
    for number in 0..batch.rows.len() {
        write!(sql, "{}{row}", if number > 0 { ", " } else { "" }).ok();
    }
    let query = sqlx::query(AssertSqlSafe(sql));
    batch.rows.into_iter().flatten().fold(query, bind).execute(connection).await?;
    Ok(())
}

fn bind(query: Query<'_, Sqlite, SqliteArguments>, value: Value) -> Query<'_, Sqlite, SqliteArguments> {
    match value {
        Value::Id(id) => query.bind(id.map(|id| id.to_string())),
        Value::Time(time) => query.bind(time),
        Value::Text(text) => query.bind(text),
        Value::Number(number) => query.bind(number),
        Value::Bytes(bytes) => query.bind(bytes),
        Value::Bool(value) => query.bind(value),
    }
}
