//! Rows on their way from one database to another, and how SQLite reads and writes them.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::tables::{Kind, Table};

/// How many rows are held at once: SQLite takes at most 32,766 values in one statement …
const ROWS_MAX: usize = 500;

/// … and about how many bytes of them.
const BYTES_MAX: usize = 4 << 20;

/// What stands in a column of a row.
#[derive(Debug)]
pub(crate) enum Value {
    Id(Option<Uuid>),
    Time(Option<DateTime<Utc>>),
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Truth(Option<bool>),
}

/// Some rows of one table.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    pub(crate) rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl Portion {
    pub(crate) fn add(&mut self, row: Vec<Value>) {
        self.bytes += row.iter().map(Value::size).sum::<usize>();
        self.rows.push(row);
    }

    /// Whether it is to be written before more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }
}

/// Each is `None` where it is NULL, or of another kind.
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

    pub(crate) fn truth(&self) -> Option<bool> {
        if let Self::Truth(truth) = self { *truth } else { None }
    }

    fn size(&self) -> usize {
        self.text().map_or(0, str::len) + self.bytes().map_or(0, <[u8]>::len)
    }
}

/// A row of [`Table::columns`] as SQLite has it.
pub(crate) fn from_sqlite(table: &Table, row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let read = |(at, (_, kind)): (usize, &(&str, Kind))| {
        Ok(match kind {
            Kind::Id => {
                let text: Option<&str> = row.try_get(at)?;
                Value::Id(text.map(Uuid::parse_str).transpose().map_err(|error| unreadable(at, error))?)
            }
            Kind::Time => Value::Time(row.try_get(at)?),
            Kind::Text => Value::Text(row.try_get(at)?),
            Kind::Number => Value::Number(row.try_get(at)?),
            Kind::Bytes => Value::Bytes(row.try_get(at)?),
            Kind::Truth => Value::Truth(row.try_get(at)?),
        })
    };
    columns.map(read).collect()
}

fn unreadable(at: usize, error: uuid::Error) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: at.to_string(), source: Box::new(error) }
}

/// Writes the rows by one statement.
pub(crate) async fn insert_into_sqlite(
    connection: &mut SqliteConnection,
    table: &Table,
    portion: Portion,
) -> Result<(), sqlx::Error> {
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", table.name, table.names());
    for number in 0..portion.rows.len() {
        write!(sql, "{}{row}", if number > 0 { ", " } else { "" }).ok();
    }
    let query = sqlx::query(AssertSqlSafe(sql));
    portion.rows.into_iter().flatten().fold(query, bind).execute(connection).await?;
    Ok(())
}

fn bind(query: Query<'_, Sqlite, SqliteArguments>, value: Value) -> Query<'_, Sqlite, SqliteArguments> {
    match value {
        Value::Id(id) => query.bind(id.map(|id| id.to_string())),
        Value::Time(time) => query.bind(time),
        Value::Text(text) => query.bind(text),
        Value::Number(number) => query.bind(number),
        Value::Bytes(bytes) => query.bind(bytes),
        Value::Truth(truth) => query.bind(truth),
    }
}
