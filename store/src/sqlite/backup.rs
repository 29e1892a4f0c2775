//! Backup and restore of the whole database.

#![expect(clippy::disallowed_methods, reason = "its connections are its own, and closed when it is done")]

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::lock::FileLock;
use super::{connect, migration, schedule_hold, state_file, status};
use crate::backup::file::{BackupWriter, VerifiedBackup};
use crate::backup::tables::{STATE_TABLES, TABLES};
use crate::backup::value::{self, Batch};
use crate::backup::{BackupError, BackupInfo, RestoreError, RestoreMode};
use crate::error::{OpenError, is_busy};

/// How long a restore waits for other processes that use the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Copies a consistent snapshot of each file without blocking writers, and migrates the copy. That of the state is taken
/// first, so that the rest is never older.
pub(crate) async fn back_up(path: &Path, writer: BackupWriter) -> Result<BackupInfo, BackupError> {
    if !path.exists() {
        return Err(BackupError::NoDatabase);
    }
    let options =
        SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(connect::BUSY_TIMEOUT);
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let mut source = SqliteConnection::connect_with(&options).await.map_err(unusable)?;
    if count_apps(&mut source).await.map_err(unusable)?.is_none() {
        return Err(BackupError::NoDatabase);
    }
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut source)
        .await
        .map_err(BackupError::Read)?;
    let Some(target) = writer.path().to_str() else {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "the name is not UTF-8");
        return Err(BackupError::File { path: writer.path().to_owned(), source });
    };
    let mut copy = loop {
        let was_restored = has_restored_state(&mut source).await.map_err(BackupError::Read)?;
        let state = state_file::snapshot(path).await?;
        sqlx::query("VACUUM INTO $1")
            .bind(target.to_owned())
            .execute(&mut source)
            .await
            .map_err(|error| writer.write_error(error))?;
        let mut copy = writer.open().await?;
        migration::migrate(&mut copy).await?;
        if state_file::is_restored(&mut copy).await.map_err(|error| writer.write_error(error))? {
            break copy;
        }
        if !was_restored {
            copy_state(state, &mut copy, &writer).await?;
            break copy;
        }
        // Its rows replaced those of the snapshot meanwhile.
        copy.close().await.ok();
        writer.clear()?;
    };
    source.close().await.ok();
    delete_state_without_app(&mut copy).await.map_err(|error| writer.write_error(error))?;
    writer.finish(copy, &format!("SQLite {version}")).await
}

/// Whether the state in the database replaces that of its file. An older schema has neither.
async fn has_restored_state(source: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let table = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = 'kv_restore'");
    match table.fetch_optional(&mut *source).await? {
        Some(_) => state_file::is_restored(source).await,
        None => Ok(false),
    }
}

/// Copies the state in batches.
async fn copy_state(
    state: Option<SqliteConnection>,
    copy: &mut SqliteConnection,
    writer: &BackupWriter,
) -> Result<(), BackupError> {
    let Some(mut state) = state else { return Ok(()) };
    let mut filling = copy.begin().await.map_err(|error| writer.write_error(error))?;
    for table in &STATE_TABLES {
        let sql = format!("SELECT {} FROM {}", table.names(), table.name);
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut state);
        loop {
            let mut batch = Batch::default();
            while !batch.is_full()
                && let Some(row) = rows.try_next().await.map_err(BackupError::Read)?
            {
                batch.add(value::from_sqlite(table, &row).map_err(BackupError::Read)?);
            }
            if batch.rows.is_empty() {
                break;
            }
            let inserted = value::insert_into_sqlite(&mut filling, table, batch).await;
            inserted.map_err(|error| writer.write_error(error))?;
        }
    }
    filling.commit().await.map_err(|error| writer.write_error(error))?;
    state.close().await.ok();
    Ok(())
}

/// Marks the state of apps deleted that were purged after it was copied.
async fn delete_state_without_app(copy: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE kv_namespaces SET deleted_at = $1 WHERE deleted_at IS NULL AND app NOT IN (SELECT id FROM apps)",
    )
    .bind(Utc::now())
    .execute(copy)
    .await?;
    Ok(())
}

/// Records in the database that a backup was made.
pub(crate) async fn note(path: &Path, made_at: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let options = connect::options(path).create_if_missing(false);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    status::note_backup(&mut connection, made_at).await?;
    connection.close().await
}

/// Replaces all rows by those of the backup, in one transaction. The restored state replaces that of its file when the
/// database is opened.
pub(crate) async fn restore(
    backup: &VerifiedBackup,
    path: &Path,
    mode: RestoreMode,
) -> Result<(), RestoreError> {
    connect::make_private_file(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    // No node can use the file until the restore is complete.
    let _lock = FileLock::take(path).await.map_err(|error| match error {
        OpenError::InUse { holder, .. } => RestoreError::InUse { holder: Some(holder) },
        error => error.into(),
    })?;
    // Exclusive mode excludes other programs that read the file. Foreign keys are checked once at the end.
    let options = connect::create_options(path)
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(LOCK_TIMEOUT)
        .foreign_keys(false);
    let unusable = |source| match is_busy(&source) {
        true => RestoreError::InUse { holder: None },
        false => OpenError::Unusable { path: path.to_owned(), source }.into(),
    };
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(unusable)?;
    let apps = count_apps(&mut connection).await.map_err(unusable)?.unwrap_or_default();
    if apps > 0 && !mode.replace {
        return Err(RestoreError::NotEmpty { apps });
    }
    migration::migrate(&mut connection).await?;
    sqlx::query("ATTACH $1 AS backup").bind(backup.uri()).execute(&mut connection).await?;
    let mut transaction = connection.begin_with("BEGIN EXCLUSIVE").await?;
    empty(&mut transaction).await?;
    for table in TABLES {
        let (name, columns) = (table.name, table.names());
        let sql = format!("INSERT INTO main.{name} ({columns}) SELECT {columns} FROM backup.{name}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await?;
    }
    state_file::mark_restored(&mut transaction).await?;
    schedule_hold::replace(&mut transaction, mode.hold(&backup.contents).as_deref()).await?;
    let dangling = sqlx::query("PRAGMA main.foreign_key_check").fetch_optional(&mut *transaction).await?;
    if dangling.is_some() {
        return Err(backup.damaged("a row refers to one that is not there"));
    }
    transaction.commit().await?;
    // Closing it checkpoints the write-ahead log.
    connection.close().await?;
    Ok(())
}

/// Deletes all rows except those of migrations.
async fn empty(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM main.sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut *connection)
    .await?;
    for table in tables {
        let sql = format!("DELETE FROM main.\"{}\"", table.replace('"', "\"\""));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The number of apps, if the table exists.
async fn count_apps(connection: &mut SqliteConnection) -> Result<Option<u64>, sqlx::Error> {
    let table = sqlx::query("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'apps'");
    if table.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(None);
    }
    let apps: i64 = sqlx::query_scalar("SELECT count(*) FROM main.apps").fetch_one(connection).await?;
    Ok(Some(apps.unsigned_abs()))
}
