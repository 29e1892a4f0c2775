//! The connections of a node to PostgreSQL, with timeouts for all queries.
//!
//! `statement_timeout` only works while the server works. If it is frozen, or its machine is gone, only TCP would
//! notice, after a quarter of an hour. So every statement has a timeout on this side as well: [`Connections`] and
//! [`Connection`] are the only way to the pool, and both are executors that limit the wait for each response.
//!
//! A connection with an unfinished statement is closed, whether the response did not arrive or the caller was
//! dropped. sqlx would ping it first, and keep its slot of the pool until the reply arrives.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgListener, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{Connection as _, Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::session;
use crate::PoolConfig;
use crate::error::{PoolBusyError, UnresponsiveError};

/// How much longer than the statement timeout a response is waited for.
const RESPONSE_SLACK: Duration = Duration::from_secs(5);

/// The timeout for a ping of an idle connection.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout for closing all connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;
type BoxedStream<'a, T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send + 'a>>;

/// The connections of a node. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    options: PgConnectOptions,
    settings: PoolConfig,
    last_timeout: LastTimeout,
}

/// A connection, returned to the pool on drop.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Only `drop` takes it.
    pooled: Option<PoolConnection<Postgres>>,
    /// Whether a statement was started whose end was not seen.
    unfinished: bool,
    response_timeout: Duration,
    last_timeout: LastTimeout,
}

/// When a connection last timed out. Connections from before are likely to be dead too, and each would cost a query
/// its timeout.
#[derive(Clone, Debug, Default)]
struct LastTimeout(Arc<Mutex<Option<Instant>>>);

impl LastTimeout {
    fn record(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_before(&self, age: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.is_none_or(|lost| lost.elapsed() > age)
    }
}

impl Connections {
    /// Opens a pool. The connection for notifications counts towards its maximum.
    pub(crate) async fn open(options: PgConnectOptions, settings: &PoolConfig) -> Result<Self, Error> {
        let last_timeout = LastTimeout::default();
        let session = session::settings(settings);
        let tracked = last_timeout.clone();
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections.saturating_sub(1).max(1))
            .acquire_timeout(settings.acquire_timeout)
            .after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move { session::set(connection, &session).await })
            })
            // Replaces the ping of sqlx, which has no timeout of its own.
            .test_before_acquire(false)
            .before_acquire(move |connection, found| {
                let tracked = tracked.clone();
                Box::pin(async move { Ok(is_alive(connection, found.age, &tracked).await) })
            })
            .connect_with(options.clone())
            .await?;
        Ok(Self { pool, options, settings: *settings, last_timeout })
    }

    /// The executor for reads.
    pub(super) fn reader(&self) -> &Self {
        self
    }

    /// Acquires a connection of the pool.
    #[expect(clippy::disallowed_methods, reason = "it is the only way to the pool")]
    pub(crate) async fn acquire(&self) -> Result<Connection, Error> {
        let pooled = self.pool.acquire().await.map_err(|error| match error {
            Error::PoolTimedOut if self.is_exhausted() => {
                wrapped(PoolBusyError { connections: self.settings.max_connections })
            }
            Error::PoolTimedOut => unresponsive(self.settings.acquire_timeout),
            error => error,
        })?;
        Ok(Connection {
            pooled: Some(pooled),
            unfinished: false,
            response_timeout: self.settings.statement_timeout.saturating_add(RESPONSE_SLACK),
            last_timeout: self.last_timeout.clone(),
        })
    }

    fn is_exhausted(&self) -> bool {
        self.pool.num_idle() == 0 && self.pool.size() >= self.pool.options().get_max_connections()
    }

    /// Opens a connection outside of the pool, whose connections may be dead or in use.
    pub(crate) async fn connect(&self) -> Result<PgConnection, Error> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            session::set(&mut connection, &session::settings(&self.settings)).await?;
            Ok(connection)
        };
        timeout(self.settings.acquire_timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(unresponsive(self.settings.acquire_timeout)))
    }

    /// Opens a connection for notifications outside of the pool, so that no query waits for it.
    pub(crate) async fn listener(&self) -> Result<PgListener, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.settings.acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.options.clone());
        let listener = PgListener::connect_with(&pool).await;
        listener.map_err(|error| match error {
            Error::PoolTimedOut => unresponsive(self.settings.acquire_timeout),
            error => error,
        })
    }

    /// The numbers of open and idle connections.
    pub(crate) fn count(&self) -> (u32, u32) {
        (self.pool.size(), u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX))
    }

    /// Closes all connections after their queries have finished, within a timeout.
    pub(crate) async fn close(&self) {
        let _ = timeout(CLOSE_TIMEOUT, self.pool.close()).await;
    }
}

/// Whether an idle connection is usable; otherwise it is closed and replaced.
async fn is_alive(connection: &mut PgConnection, age: Duration, last_timeout: &LastTimeout) -> bool {
    if !last_timeout.is_before(age) {
        return false;
    }
    match timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(response) => response.is_ok(),
        Err(_) => {
            last_timeout.record();
            false
        }
    }
}

impl Connection {
    /// Closes the connection on drop.
    pub(super) fn discard(&mut self) {
        self.unfinished = true;
    }

    fn pooled(&mut self) -> &mut PgConnection {
        self.pooled.as_mut().expect("only `drop` takes it")
    }

    /// Runs one statement with a timeout.
    async fn respond<T>(
        &mut self,
        send: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.unfinished = true;
        let response_timeout = self.response_timeout;
        let response = timeout(response_timeout, send(self.pooled())).await;
        self.unfinished = response.as_ref().map_or(true, |response| !is_complete(response));
        response.unwrap_or_else(|_| Err(self.timed_out()))
    }

    fn timed_out(&self) -> Error {
        self.last_timeout.record();
        unresponsive(self.response_timeout)
    }
}

/// Whether the response is complete, so that the connection can be reused.
fn is_complete<T>(response: &Result<T, Error>) -> bool {
    matches!(response, Ok(_) | Err(Error::Database(_) | Error::RowNotFound))
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut pooled) = self.pooled.take() else { return };
        if self.unfinished {
            // Frees the slot of the pool.
            drop(pooled.detach());
        } else if let Ok(runtime) = Handle::try_current() {
            // sqlx pings a connection before it takes it back.
            runtime.spawn(timeout(PING_TIMEOUT, pooled.return_to_pool()));
        } else {
            drop(pooled.detach());
        }
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxedStream<'e, Either<PgQueryResult, PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let Connection { pooled, unfinished, response_timeout, last_timeout } = self;
        *unfinished = true;
        let response_timeout = *response_timeout;
        let pooled: &mut PgConnection = pooled.as_mut().expect("only `drop` takes it");
        let steps = pooled.fetch_many(query);
        stream::try_unfold(
            (steps, unfinished, last_timeout),
            move |(mut steps, unfinished, last_timeout)| async move {
                let Ok(step) = timeout(response_timeout, steps.try_next()).await else {
                    last_timeout.record();
                    return Err(unresponsive(response_timeout));
                };
                if !matches!(step, Ok(Some(_))) {
                    *unfinished = !is_complete(&step);
                }
                Ok(step?.map(|step| (step, (steps, unfinished, last_timeout))))
            },
        )
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> Boxed<'e, Option<PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.respond(async move |pooled| pooled.fetch_optional(query).await))
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> Boxed<'e, PgStatement>
    where
        'c: 'e,
    {
        Box::pin(self.respond(async move |pooled| pooled.prepare_with(sql, parameters).await))
    }

    fn describe<'e>(self, sql: SqlStr) -> Boxed<'e, Describe<Postgres>>
    where
        'c: 'e,
    {
        Box::pin(self.respond(async move |pooled| pooled.describe(sql).await))
    }
}

/// Runs each statement on a connection of its own.
impl<'c> Executor<'c> for &'c Connections {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxedStream<'e, Either<PgQueryResult, PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // The whole result is buffered, so that a slow reader does not occupy a connection.
        let all = async move {
            let mut connection = self.acquire().await?;
            let steps: Vec<_> = connection.fetch_many(query).try_collect().await?;
            Ok::<_, Error>(stream::iter(steps.into_iter().map(Ok)))
        };
        stream::once(all).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> Boxed<'e, Option<PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> Boxed<'e, PgStatement>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> Boxed<'e, Describe<Postgres>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.describe(sql).await })
    }
}

/// A response that timed out.
fn unresponsive(time: Duration) -> Error {
    wrapped(UnresponsiveError { time })
}

/// Wraps an error so that it passes through sqlx; `StoreError` unwraps it.
fn wrapped(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io(io::Error::other(error))
}
