//! Opening the database and bringing its tables up to date.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::connections::Connections;
use super::{session, transaction};
use crate::error::{OpenError, StoreError};
use crate::{KnownTime, Pool};

/// The oldest PostgreSQL that is supported, as `server_version_num` has it.
const OLDEST: u32 = 130_000;

/// How long is waited for the first connection.
const REACH_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the tables can take to be brought up to date before it is looked whether the database still answers.
const MIGRATION_LOOK_EVERY: Duration = Duration::from_secs(5);

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

pub(crate) async fn open(url: &str, pool: &Pool) -> Result<Connections, OpenError> {
    // A pool only says that it timed out; one connection says why. Another node's migration may take longer than a
    // statement may.
    let mut first = one(url, &[("statement_timeout", "0")]).await?;
    session::refuse_shared(&mut first, &options(url)?).await?;
    migrate_while_it_answers(&mut first, url).await?;
    timeout(REACH_TIME_MAX, first.close()).await.ok();
    Connections::open(options(url)?, pool).await.map_err(OpenError::Unreachable)
}

/// A migration takes as long as it takes, and may wait for another node's. But it ends where the database does not answer any
/// more, which another connection finds out.
async fn migrate_while_it_answers(first: &mut PgConnection, url: &str) -> Result<(), OpenError> {
    let reached = timeout(REACH_TIME_MAX, session::server_process(first)).await;
    let process = reached.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(unreachable)?;
    let mut migrating = std::pin::pin!(migrate(first));
    let mut said = None;
    loop {
        if let Ok(migrated) = timeout(MIGRATION_LOOK_EVERY, &mut migrating).await {
            return migrated;
        }
        let mut other = one(url, &[]).await?;
        let looked = timeout(REACH_TIME_MAX, holders(&mut other, &process)).await;
        let holders = looked.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(unreachable)?;
        timeout(REACH_TIME_MAX, other.close()).await.ok();
        match &holders {
            holders if said.as_ref() == Some(holders) => {}
            Some(holders) => {
                tracing::warn!("the start waits for a lock in the database, which is held by {holders}")
            }
            None => {
                tracing::info!("the tables are being brought up to date; the node starts when that is done")
            }
        }
        said = Some(holders);
    }
}

/// The sessions that hold what the server's process waits for, in words.
async fn holders(connection: &mut PgConnection, process: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT string_agg(format('%s (process %s%s)', coalesce(nullif(application_name, ''), 'a session'), pid,
                                  ', from ' || host(client_addr)), ', ' ORDER BY pid)
         FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1::text::integer))",
    )
    .bind(process)
    .fetch_one(connection)
    .await
}

/// One connection, with `settings` of its own.
pub(crate) async fn one(url: &str, settings: &[(&str, &str)]) -> Result<PgConnection, OpenError> {
    let options = options(url)?;
    let reaching = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        session::set(&mut connection, settings).await?;
        Ok(connection)
    };
    let reached = timeout(REACH_TIME_MAX, reaching).await;
    let connection = reached.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(unreachable)?;
    refuse_old(connection.server_version_num())?;
    Ok(connection)
}

/// Without the parameters that PgBouncer does not know: settings are set once there is a connection.
fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    check_scheme(url)?;
    let options: PgConnectOptions = url.parse().map_err(OpenError::Unreachable)?;
    Ok(options.application_name("picloud").extra_float_digits(None))
}

/// The driver takes any URL for one of PostgreSQL.
fn check_scheme(url: &str) -> Result<(), OpenError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(());
    }
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme {
        Some(scheme) if scheme == "sqlite" || scheme == "file" => Err(OpenError::Embedded),
        // A password can stand in what is no scheme.
        Some(scheme) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err(OpenError::Scheme { scheme: format!("{scheme}:") })
        }
        None if url.starts_with(['/', '.']) => Err(OpenError::Embedded),
        _ => Err(OpenError::Scheme { scheme: "no scheme".to_owned() }),
    }
}

/// The server may be there and not be the one that the URL asks for.
fn unreachable(error: sqlx::Error) -> OpenError {
    match error {
        sqlx::Error::Tls(_) => OpenError::Untrusted(error),
        // So a certificate is told that was refused.
        sqlx::Error::Io(ref io) if io.kind() == std::io::ErrorKind::InvalidData => {
            OpenError::Untrusted(error)
        }
        error => OpenError::Unreachable(error),
    }
}

/// `found` is `None` where something between us and the server keeps it to itself.
fn refuse_old(found: Option<u32>) -> Result<(), OpenError> {
    match found {
        Some(found) if found < OLDEST => {
            Err(OpenError::TooOld { found: found / 10_000, oldest: OLDEST / 10_000 })
        }
        _ => Ok(()),
    }
}

/// Brings the tables up to date. sqlx holds an advisory lock meanwhile, so that of several nodes one migrates and the others
/// wait.
pub(crate) async fn migrate(connection: &mut PgConnection) -> Result<(), OpenError> {
    refuse_foreign(connection).await?;
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found },
        error => OpenError::Migrate(error),
    })
}

/// A database without our first migration may have no table at all, but for those of extensions, such as PostGIS.
async fn refuse_foreign(connection: &mut PgConnection) -> Result<(), OpenError> {
    let mine = MIGRATIONS.iter().next().map(|first| first.checksum.to_vec());
    let failed = |error: sqlx::Error| OpenError::Migrate(error.into());
    let migrated: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if migrated {
        let first: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT checksum FROM _sqlx_migrations ORDER BY version LIMIT 1")
                .fetch_optional(&mut *connection)
                .await
                .map_err(failed)?;
        return match first {
            Some((first,)) if Some(&first) != mine.as_ref() => {
                Err(OpenError::Foreign { table: "_sqlx_migrations".to_owned() })
            }
            // Without any, another node is about to make the first one.
            _ => Ok(()),
        };
    }
    // Another node may make ours meanwhile: the migrations are looked for again in the same moment.
    let there: Option<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
             AND to_regclass('_sqlx_migrations') IS NULL
             AND NOT EXISTS (SELECT FROM pg_depend
                             WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
         ORDER BY relname LIMIT 1",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    there.map_or(Ok(()), |table| Err(OpenError::Foreign { table }))
}

/// The version of the tables that this program knows.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Writes what every transaction writes.
pub(crate) async fn probe_write(connections: &Connections) -> Result<(), StoreError> {
    transaction::begin(connections).await?.commit().await
}

/// Its server does so by itself.
pub(crate) async fn give_back_pages(_: &Connections) -> Result<bool, StoreError> {
    Ok(false)
}

/// The same.
pub(crate) async fn forget_deleted(_: &Connections) -> Result<(), StoreError> {
    Ok(())
}

/// Its server has a clock.
pub(crate) async fn time(connections: &Connections) -> Result<KnownTime, StoreError> {
    Ok(KnownTime::Clock(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connections).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_that_is_not_postgresqls_is_refused_without_showing_it() {
        for fine in ["postgres://a", "postgresql://a"] {
            assert!(check_scheme(fine).is_ok());
        }
        for (url, words) in [
            ("mysql://ada:hunter2@db/x", "begins with mysql:, and"),
            ("ada:hunter2@db/x", "begins with ada:, and"),
            ("db/x", "begins with no scheme, and"),
            ("a b:hunter2", "begins with no scheme, and"),
            ("sqlite:picloud.db", "names a file"),
            ("/var/lib/picloud.db", "names a file"),
        ] {
            let refused = check_scheme(url).unwrap_err().to_string();
            assert!(refused.contains(words) && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_server_that_is_too_old_is_refused_in_words() {
        let refused = refuse_old(Some(120_022)).unwrap_err().to_string();
        assert!(refused.contains("PostgreSQL 12") && refused.contains("13"), "{refused}");
        for fine in [Some(130_000), Some(150_018), Some(180_001), None] {
            assert!(refuse_old(fine).is_ok());
        }
    }
}
