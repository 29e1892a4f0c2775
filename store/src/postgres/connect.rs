//! Opens the database.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::connections::Connections;
use super::{migration, session, transaction};
use crate::error::{OpenError, StoreError};
use crate::{DatabaseTime, PoolConfig};

/// The oldest supported PostgreSQL, as `server_version_num`.
const VERSION_MIN: u32 = 130_000;

/// The timeout for connecting, and for a query that checks whether the server responds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a migration runs before another connection checks that the server still responds.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn open(url: &str, pool: &PoolConfig) -> Result<Connections, OpenError> {
    // A pool only reports timeouts; a single connection reports the cause. A migration may exceed the statement
    // timeout.
    let mut first = one(url, &[("statement_timeout", "0")]).await?;
    session::reject_shared(&mut first, &options(url)?).await?;
    migrate_while_responsive(&mut first, url).await?;
    timeout(CONNECT_TIMEOUT, first.close()).await.ok();
    Connections::open(options(url)?, pool).await.map_err(OpenError::Unreachable)
}

/// Migrates, for as long as it takes, and for as long as the server responds on another connection: a migration may wait for
/// locks, or for the migration of another node.
async fn migrate_while_responsive(first: &mut PgConnection, url: &str) -> Result<(), OpenError> {
    let process = responding(session::server_process(first)).await?;
    let mut migrating = std::pin::pin!(migration::migrate(first));
    let mut logged = None;
    loop {
        if let Ok(migrated) = timeout(PROBE_INTERVAL, &mut migrating).await {
            return migrated;
        }
        let mut other = one(url, &[]).await?;
        let holders = responding(lock_holders(&mut other, &process)).await?;
        timeout(CONNECT_TIMEOUT, other.close()).await.ok();
        match &holders {
            holders if logged.as_ref() == Some(holders) => {}
            Some(holders) => tracing::warn!("migration waits for a lock held by {holders}"),
            None => tracing::info!("migration in progress; the node starts when it is done"),
        }
        logged = Some(holders);
    }
}

async fn responding<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, OpenError> {
    let reply = timeout(CONNECT_TIMEOUT, query).await;
    reply.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(unreachable)
}

/// Describes the sessions that hold the locks which the server process waits for.
async fn lock_holders(connection: &mut PgConnection, process: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT string_agg(format('%s (process %s%s)', coalesce(nullif(application_name, ''), 'a session'), pid,
                                  ', from ' || host(client_addr)), ', ' ORDER BY pid)
         FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1::text::integer))",
    )
    .bind(process)
    .fetch_one(connection)
    .await
}

/// Opens a single connection with its own settings.
pub(crate) async fn one(url: &str, settings: &[(&str, &str)]) -> Result<PgConnection, OpenError> {
    let options = options(url)?;
    let connecting = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        session::set(&mut connection, settings).await?;
        Ok(connection)
    };
    let connected = timeout(CONNECT_TIMEOUT, connecting).await;
    let connection = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(unreachable)?;
    reject_unsupported(connection.server_version_num())?;
    Ok(connection)
}

/// Omits parameters that PgBouncer rejects: settings are set after connecting.
fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    check_scheme(url)?;
    let options: PgConnectOptions = url.parse().map_err(OpenError::Unreachable)?;
    Ok(options.application_name("picloud").extra_float_digits(None))
}

/// Rejects other URLs, because the driver accepts any scheme.
fn check_scheme(url: &str) -> Result<(), OpenError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(());
    }
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme {
        Some(scheme) if scheme == "sqlite" || scheme == "file" => Err(OpenError::Embedded),
        // What looks like a scheme may hold a password.
        Some(scheme) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err(OpenError::Scheme { scheme: format!("{scheme}:") })
        }
        None if url.starts_with(['/', '.']) => Err(OpenError::Embedded),
        _ => Err(OpenError::Scheme { scheme: "no scheme".to_owned() }),
    }
}

/// Distinguishes TLS failures from an unreachable server.
fn unreachable(error: sqlx::Error) -> OpenError {
    match error {
        sqlx::Error::Tls(_) => OpenError::Untrusted(error),
        // This is how a rejected certificate is reported.
        sqlx::Error::Io(ref io) if io.kind() == std::io::ErrorKind::InvalidData => {
            OpenError::Untrusted(error)
        }
        error => OpenError::Unreachable(error),
    }
}

/// `found` is `None` if a proxy hides the version.
fn reject_unsupported(found: Option<u32>) -> Result<(), OpenError> {
    match found {
        Some(found) if found < VERSION_MIN => {
            Err(OpenError::TooOld { found: found / 10_000, oldest: VERSION_MIN / 10_000 })
        }
        _ => Ok(()),
    }
}

/// Commits an empty transaction, which writes its outcome.
pub(crate) async fn probe_write(connections: &Connections) -> Result<(), StoreError> {
    transaction::begin(connections).await?.commit().await
}

/// PostgreSQL does this by itself.
pub(crate) async fn release_free_pages(_: &Connections) -> Result<bool, StoreError> {
    Ok(false)
}

/// PostgreSQL does this by itself.
pub(crate) async fn purge_deleted(_: &Connections) -> Result<(), StoreError> {
    Ok(())
}

/// The clock of the server.
pub(crate) async fn time(connections: &Connections) -> Result<DatabaseTime, StoreError> {
    Ok(DatabaseTime::Clock(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connections).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_url_is_rejected_without_showing_it() {
        for valid in ["postgres://a", "postgresql://a"] {
            assert!(check_scheme(valid).is_ok());
        }
        for (url, message) in [
            ("mysql://ada:hunter2@db/x", "begins with mysql:, but"),
            ("ada:hunter2@db/x", "begins with ada:, but"),
            ("db/x", "begins with no scheme, but"),
            ("a b:hunter2", "begins with no scheme, but"),
            ("sqlite:picloud.db", "names a file, but"),
            ("/var/lib/picloud.db", "names a file, but"),
        ] {
            let error = check_scheme(url).unwrap_err().to_string();
            assert!(error.contains(message) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn unsupported_server_version_is_rejected() {
        let error = reject_unsupported(Some(120_022)).unwrap_err().to_string();
        assert!(error.contains("PostgreSQL 12") && error.contains("13"), "{error}");
        for valid in [Some(130_000), Some(150_018), Some(180_001), None] {
            assert!(reject_unsupported(valid).is_ok());
        }
    }
}
