//! The whole database at once.

#![expect(clippy::disallowed_methods, reason = "its connections are its own, and closed when it is done")]

use std::error::Error;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _, SqliteConnection};

use super::{connect, nodes, schedule_hold, status};
use crate::backup::file::{Checked, Draft};
use crate::backup::tables::{self, Kind, TABLES, Table};
use crate::backup::value::{self, Portion, Value};
use crate::backup::{BackupError, Contents, RestoreError, Restoring};
use crate::error::{OpenError, is_busy};
use crate::sqlite;

/// How long a restore waits for pushes that are under way.
const IN_USE_TIME_MAX: &str = "30s";

/// What differs from a node's connections: one statement may take as long as the whole takes, and rows come in the order in
/// which they lie, so that what was pushed together stays together.
const SETTINGS: [(&str, &str); 3] = [
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("synchronize_seqscans", "off"),
];

/// Reads everything in one transaction, which sees the database at one moment; whoever writes meanwhile is not held up.
pub(crate) async fn back_up(url: &str, draft: Draft) -> Result<Contents, BackupError> {
    let mut source = connect::one(url, &SETTINGS).await?;
    let (found, known) = (schema(&mut source).await.map_err(BackupError::Read)?, connect::newest());
    match found {
        None => return Err(BackupError::Nothing),
        Some(found) if found < known => return Err(BackupError::Older { found, known }),
        Some(found) if found > known => return Err(OpenError::Newer { found }.into()),
        Some(_) => {}
    }
    let version: String =
        sqlx::query_scalar("SHOW server_version").fetch_one(&mut source).await.map_err(BackupError::Read)?;
    let mut target = draft.open().await?;
    sqlite::connect::migrate(&mut target).await?;
    let mut snapshot = source
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(BackupError::Read)?;
    // Before the first row is read: a TRUNCATE would otherwise be seen by this snapshot too.
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables::names());
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *snapshot).await.map_err(BackupError::Read)?;
    let mut filling = target.begin().await.map_err(|error| draft.unwritten(error))?;
    for table in TABLES {
        copy(&mut snapshot, table, &mut filling, &draft).await?;
    }
    filling.commit().await.map_err(|error| draft.unwritten(error))?;
    snapshot.rollback().await.ok();
    source.close().await.ok();
    draft.finish(target, &format!("PostgreSQL {version}")).await
}

/// Notes in the database that a backup was made.
pub(crate) async fn note(url: &str, made_at: DateTime<Utc>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut connection = connect::one(url, &[]).await?;
    status::note_backup(&mut connection, made_at).await?;
    connection.close().await.ok();
    Ok(())
}

/// Copies one table. Rows are taken from the server as they are needed, and held in portions.
async fn copy(
    from: &mut PgConnection,
    table: &Table,
    into: &mut SqliteConnection,
    draft: &Draft,
) -> Result<(), BackupError> {
    // Whatever width a number has, it is read as the widest.
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|(name, kind)| match kind {
            Kind::Number => format!("{name}::bigint"),
            _ => (*name).to_owned(),
        })
        .collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(from);
    loop {
        let mut portion = Portion::default();
        while !portion.is_full()
            && let Some(row) = rows.try_next().await.map_err(BackupError::Read)?
        {
            portion.add(read(table, &row).map_err(BackupError::Read)?);
        }
        if portion.rows.is_empty() {
            return Ok(());
        }
        value::insert_into_sqlite(into, table, portion).await.map_err(|error| draft.unwritten(error))?;
    }
}

/// Everything that is there goes and everything from the backup comes, in one transaction. Nodes may be running: what they
/// ask meanwhile waits, what they serve they serve from memory.
pub(crate) async fn restore(backup: &Checked, url: &str, how: Restoring) -> Result<(), RestoreError> {
    let mut rows = backup.open().await?;
    let mut connection = connect::one(url, &SETTINGS).await?;
    refuse_apps(count_apps(&mut connection).await?, how.replace)?;
    connect::migrate(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    let tx = &mut *transaction;
    sqlx::query("SELECT set_config('lock_timeout', $1, true)")
        .bind(IN_USE_TIME_MAX)
        .execute(&mut *tx)
        .await?;
    // Every push begins with its app: those that are under way end before, and no other one begins.
    let locked = sqlx::raw_sql("LOCK TABLE apps IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await;
    locked.map_err(in_use)?;
    refuse_apps(count_apps(&mut *tx).await?, how.replace)?;
    // What nodes keep of apps beside that refers to them, and goes too.
    let truncate = format!("TRUNCATE {} CASCADE", tables::names());
    sqlx::raw_sql(AssertSqlSafe(truncate)).execute(&mut *tx).await.map_err(in_use)?;
    for table in TABLES {
        fill(&mut *tx, table, &mut rows).await?;
    }
    // The next app gets a number of its own. A sequence is not part of the transaction, so it is never set back.
    sqlx::raw_sql(
        "SELECT setval(sequence, greatest(nextval(sequence), (SELECT max(repository) FROM apps)))
         FROM (SELECT pg_get_serial_sequence('apps', 'repository')::regclass AS sequence) AS found",
    )
    .execute(&mut *tx)
    .await?;
    schedule_hold::restored(&mut *tx, how.hold(&backup.contents).as_deref()).await?;
    tell_nodes(&mut *tx).await?;
    transaction.commit().await?;
    connection.close().await.ok();
    rows.close().await.ok();
    Ok(())
}

/// Running nodes hear, with the commit, that everything is another one: generations that none of them has seen, and news
/// that name no app.
async fn tell_nodes(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
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

fn refuse_apps(apps: Option<u64>, replace: bool) -> Result<(), RestoreError> {
    match apps {
        Some(apps) if apps > 0 && !replace => Err(RestoreError::NotEmpty { apps }),
        _ => Ok(()),
    }
}

fn in_use(error: sqlx::Error) -> RestoreError {
    if is_busy(&error) { RestoreError::InUse { holder: None } } else { error.into() }
}

/// Fills one table from the backup, portion by portion.
async fn fill(
    into: &mut PgConnection,
    table: &Table,
    from: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    let sql = format!("SELECT {} FROM {}", table.names(), table.name);
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(from);
    loop {
        let mut portion = Portion::default();
        while !portion.is_full()
            && let Some(row) = rows.try_next().await?
        {
            portion.add(value::from_sqlite(table, &row)?);
        }
        if portion.rows.is_empty() {
            return Ok(());
        }
        insert(into, table, portion).await?;
    }
}

/// Inserts the rows, each column as one array. The numbers of repositories are otherwise the database's to give.
async fn insert(into: &mut PgConnection, table: &Table, portion: Portion) -> Result<(), sqlx::Error> {
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
    let query = columns.fold(query, |query, (at, (_, kind))| bind(query, &portion.rows, at, *kind));
    query.execute(into).await?;
    Ok(())
}

/// Binds a column of all rows.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &'q [Vec<Value>],
    at: usize,
    kind: Kind,
) -> Query<'q, Postgres, PgArguments> {
    fn all<'q, T>(rows: &'q [Vec<Value>], at: usize, one: impl Fn(&'q Value) -> Option<T>) -> Vec<Option<T>> {
        rows.iter().map(|row| row.get(at).and_then(&one)).collect()
    }
    match kind {
        Kind::Id => query.bind(all(rows, at, Value::id)),
        Kind::Time => query.bind(all(rows, at, Value::time)),
        Kind::Text => query.bind(all(rows, at, Value::text)),
        Kind::Number => query.bind(all(rows, at, Value::number)),
        Kind::Bytes => query.bind(all(rows, at, Value::bytes)),
        Kind::Truth => query.bind(all(rows, at, Value::truth)),
    }
}

fn array_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Id => "uuid",
        Kind::Time => "timestamptz",
        Kind::Text => "text",
        Kind::Number => "bigint",
        Kind::Bytes => "bytea",
        Kind::Truth => "boolean",
    }
}

fn read(table: &Table, row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    let read = |(at, (_, kind)): (usize, &(&str, Kind))| {
        Ok(match kind {
            Kind::Id => Value::Id(row.try_get(at)?),
            Kind::Time => Value::Time(row.try_get(at)?),
            Kind::Text => Value::Text(row.try_get(at)?),
            Kind::Number => Value::Number(row.try_get(at)?),
            Kind::Bytes => Value::Bytes(row.try_get(at)?),
            Kind::Truth => Value::Truth(row.try_get(at)?),
        })
    };
    columns.map(read).collect()
}

/// The latest migration that was made, if any was.
async fn schema(connection: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    if !has_table(connection, "_sqlx_migrations").await? {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(connection).await
}

/// How many apps there are, if there is a table of them.
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
