//! Backup and restore of the whole database.

#![expect(clippy::disallowed_methods, reason = "its connections are its own, and closed when it is done")]

use std::error::Error;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _, SqliteConnection};

use super::{connect, migration, nodes, schedule_hold, status};
use crate::backup::file::{BackupWriter, VerifiedBackup};
use crate::backup::tables::{self, ColumnType, TABLES, Table};
use crate::backup::value::{self, Batch, Value};
use crate::backup::{BackupError, BackupInfo, RestoreError, RestoreMode};
use crate::error::{OpenError, is_busy};
use crate::sqlite;

/// How long a restore waits for pushes in progress.
const LOCK_TIMEOUT: &str = "30s";

/// Settings that differ from those of a node: no statement timeout, and rows in storage order, so that rows that were
/// pushed together stay together.
const SETTINGS: [(&str, &str); 3] = [
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("synchronize_seqscans", "off"),
];

/// Reads everything in one transaction with a consistent snapshot. Writers are not blocked.
pub(crate) async fn back_up(url: &str, writer: BackupWriter) -> Result<BackupInfo, BackupError> {
    let mut source = connect::one(url, &SETTINGS).await?;
    let (found, known) = (schema(&mut source).await.map_err(BackupError::Read)?, migration::latest_version());
    match found {
        None => return Err(BackupError::NoDatabase),
        Some(found) if found < known => return Err(BackupError::OlderSchema { found, known }),
        Some(found) if found > known => return Err(OpenError::Newer { found }.into()),
        Some(_) => {}
    }
    let version: String =
        sqlx::query_scalar("SHOW server_version").fetch_one(&mut source).await.map_err(BackupError::Read)?;
    let mut target = writer.open().await?;
    sqlite::migration::migrate(&mut target).await?;
    let mut snapshot = source
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(BackupError::Read)?;
    // Before the first row is read: otherwise a TRUNCATE would be visible in this snapshot.
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables::names());
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *snapshot).await.map_err(BackupError::Read)?;
    let mut filling = target.begin().await.map_err(|error| writer.write_error(error))?;
    for table in TABLES {
        copy(&mut snapshot, table, &mut filling, &writer).await?;
    }
    filling.commit().await.map_err(|error| writer.write_error(error))?;
    snapshot.rollback().await.ok();
    source.close().await.ok();
    writer.finish(target, &format!("PostgreSQL {version}")).await
}

/// Records in the database that a backup was made.
pub(crate) async fn note(url: &str, made_at: DateTime<Utc>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut connection = connect::one(url, &[]).await?;
    status::note_backup(&mut connection, made_at).await?;
    connection.close().await.ok();
    Ok(())
}

/// Copies one table in batches.
async fn copy(
    from: &mut PgConnection,
    table: &Table,
    into: &mut SqliteConnection,
    writer: &BackupWriter,
) -> Result<(), BackupError> {
    // Numbers of any width are read as bigint.
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|(name, kind)| match kind {
            ColumnType::Number => format!("{name}::bigint"),
            _ => (*name).to_owned(),
        })
        .collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(from);
    loop {
        let mut batch = Batch::default();
        while !batch.is_full()
            && let Some(row) = rows.try_next().await.map_err(BackupError::Read)?
        {
            batch.add(read(table, &row).map_err(BackupError::Read)?);
        }
        if batch.rows.is_empty() {
            return Ok(());
        }
        value::insert_into_sqlite(into, table, batch).await.map_err(|error| writer.write_error(error))?;
    }
}

/// Replaces all rows by those of the backup, in one transaction. Nodes may be running: their queries wait meanwhile,
/// and they serve from memory.
pub(crate) async fn restore(
    backup: &VerifiedBackup,
    url: &str,
    mode: RestoreMode,
) -> Result<(), RestoreError> {
    let mut rows = backup.open().await?;
    let mut connection = connect::one(url, &SETTINGS).await?;
    reject_existing_apps(count_apps(&mut connection).await?, mode.replace)?;
    migration::migrate(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    let tx = &mut *transaction;
    sqlx::query("SELECT set_config('lock_timeout', $1, true)").bind(LOCK_TIMEOUT).execute(&mut *tx).await?;
    // Every push starts by locking its app, and every commit of state by its namespaces: this waits for those in progress
    // and blocks new ones.
    let lock = "LOCK TABLE apps, kv_namespaces IN ACCESS EXCLUSIVE MODE";
    let locked = sqlx::raw_sql(lock).execute(&mut *tx).await;
    locked.map_err(lock_error)?;
    reject_existing_apps(count_apps(&mut *tx).await?, mode.replace)?;
    let latest = "SELECT max(version) FROM kv_namespaces";
    let latest: Option<i64> = sqlx::query_scalar(latest).fetch_one(&mut *tx).await?;
    // CASCADE empties the tables of nodes that refer to apps, too.
    let truncate = format!("TRUNCATE {} CASCADE", tables::names());
    sqlx::raw_sql(AssertSqlSafe(truncate)).execute(&mut *tx).await.map_err(lock_error)?;
    for table in TABLES {
        fill(&mut *tx, table, &mut rows).await?;
    }
    // Nodes may have entries in memory: a version that they know must not come again with other entries.
    sqlx::query("UPDATE kv_namespaces SET version = version + $1")
        .bind(latest.map_or(0, |latest| latest + 1))
        .execute(&mut *tx)
        .await?;
    // Advance the sequences beyond the restored numbers. They are not transactional, so they are never set back.
    for (table, column) in [("apps", "repository"), ("kv_namespaces", "id")] {
        let sql = format!(
            "SELECT setval(sequence, greatest(nextval(sequence), (SELECT max({column}) FROM {table})))
             FROM (SELECT pg_get_serial_sequence('{table}', '{column}')::regclass AS sequence) AS found"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    schedule_hold::replace(&mut *tx, mode.hold(&backup.contents).as_deref()).await?;
    notify_nodes(&mut *tx).await?;
    transaction.commit().await?;
    connection.close().await.ok();
    rows.close().await.ok();
    Ok(())
}

/// Notifies running nodes on commit that everything has changed: new generations, and a notification without an app.
async fn notify_nodes(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "UPDATE apps SET generation = (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
             generation_id = md5(id::text || random()::text || clock_timestamp()::text)::uuid,
             secrets_generation = (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query("SELECT pg_notify($1, '*')").bind(nodes::APPS).execute(connection).await?;
    Ok(())
}

fn reject_existing_apps(apps: Option<u64>, replace: bool) -> Result<(), RestoreError> {
    match apps {
        Some(apps) if apps > 0 && !replace => Err(RestoreError::NotEmpty { apps }),
        _ => Ok(()),
    }
}

fn lock_error(error: sqlx::Error) -> RestoreError {
    if is_busy(&error) { RestoreError::InUse { holder: None } } else { error.into() }
}

/// Fills one table from the backup in batches.
async fn fill(
    into: &mut PgConnection,
    table: &Table,
    from: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    let sql = format!("SELECT {} FROM {}", table.names(), table.name);
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(from);
    loop {
        let mut batch = Batch::default();
        while !batch.is_full()
            && let Some(row) = rows.try_next().await?
        {
            batch.add(value::from_sqlite(table, &row)?);
        }
        if batch.rows.is_empty() {
            return Ok(());
        }
        insert(into, table, batch).await?;
    }
}

/// Inserts the rows, each column as one array. Identity columns are overridden.
async fn insert(into: &mut PgConnection, table: &Table, batch: Batch) -> Result<(), sqlx::Error> {
    let arrays: Vec<String> = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, (_, kind))| format!("${}::{}[]", at + 1, array_of(*kind)))
        .collect();
    let sql = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT * FROM unnest({})",
        table.name,
        table.names(),
        arrays.join(", ")
    );
    let columns = table.columns.iter().enumerate();
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = columns.fold(query, |query, (at, (_, kind))| bind(query, &batch.rows, at, *kind));
    query.execute(into).await?;
    Ok(())
}

/// Binds one column of all rows.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &'q [Vec<Value>],
    at: usize,
    kind: ColumnType,
) -> Query<'q, Postgres, PgArguments> {
    fn all<'q, T>(rows: &'q [Vec<Value>], at: usize, one: impl Fn(&'q Value) -> Option<T>) -> Vec<Option<T>> {
        rows.iter().map(|row| row.get(at).and_then(&one)).collect()
    }
    match kind {
        ColumnType::Id => query.bind(all(rows, at, Value::id)),
        ColumnType::Time => query.bind(all(rows, at, Value::time)),
        ColumnType::Text => query.bind(all(rows, at, Value::text)),
        ColumnType::Number => query.bind(all(rows, at, Value::number)),
        ColumnType::Bytes => query.bind(all(rows, at, Value::bytes)),
        ColumnType::Bool => query.bind(all(rows, at, Value::bool)),
    }
}

fn array_of(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Id => "uuid",
        ColumnType::Time => "timestamptz",
        ColumnType::Text => "text",
        ColumnType::Number => "bigint",
        ColumnType::Bytes => "bytea",
        ColumnType::Bool => "boolean",
    }
}

fn read(table: &Table, row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let read = |(at, (_, kind)): (usize, &(&str, ColumnType))| {
        Ok(match kind {
            ColumnType::Id => Value::Id(row.try_get(at)?),
            ColumnType::Time => Value::Time(row.try_get(at)?),
            ColumnType::Text => Value::Text(row.try_get(at)?),
            ColumnType::Number => Value::Number(row.try_get(at)?),
            ColumnType::Bytes => Value::Bytes(row.try_get(at)?),
            ColumnType::Bool => Value::Bool(row.try_get(at)?),
        })
    };
    columns.map(read).collect()
}

/// The latest applied migration, if any.
async fn schema(connection: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    if !has_table(connection, "_sqlx_migrations").await? {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await
}

/// The number of apps, if the table exists.
async fn count_apps(connection: &mut PgConnection) -> Result<Option<u64>, sqlx::Error> {
    if !has_table(connection, "apps").await? {
        return Ok(None);
    }
    let apps: i64 = sqlx::query_scalar("SELECT count(*) FROM apps").fetch_one(connection).await?;
    Ok(Some(apps.unsigned_abs()))
}

async fn has_table(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(name).fetch_one(connection).await
}
