//! The connections of a node to PostgreSQL, and the bound of everything that is asked on them.
//!
//! PostgreSQL bounds statements by itself (`statement_timeout`), for as long as it works. A server that is frozen, or whose
//! machine is gone without a word, bounds nothing, and TCP gives up after a quarter of an hour. So every statement has a
//! bound on this side as well: [`Connections`] and [`Connection`] are the only way to the pool, and both are executors
//! that wait for each answer only so long.
//!
//! A connection on which a statement was begun and not ended is thrown away, whether its answer did not come or nobody
//! waited for it any longer. sqlx would ask it for a sign of life first, and hold its place in the pool until that came.

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
use crate::Pool;
use crate::error::{PoolBusyError, SilenceError};

/// How much longer than PostgreSQL bounds a statement its answer is waited for.
const ANSWER_SLACK: Duration = Duration::from_secs(5);

/// How long an idle connection may take for a sign of life before another one is made.
const PING_TIME_MAX: Duration = Duration::from_secs(2);

/// How long closing all connections may take.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(3);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;
type BoxedStream<'a, T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send + 'a>>;

/// The connections of a node. Cheap to clone; all clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    options: PgConnectOptions,
    settings: Pool,
    trust: Trust,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Taken when this is dropped, and never before.
    pooled: Option<PoolConnection<Postgres>>,
    /// Whether a statement was begun whose end was not seen.
    unfinished: bool,
    answer_max: Duration,
    trust: Trust,
}

/// When a connection was last found to be silent. Those that were made before are likely to be as dead: each would cost a
/// query its time to find that out.
#[derive(Clone, Debug, Default)]
struct Trust(Arc<Mutex<Option<Instant>>>);

impl Trust {
    fn lose(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn covers(&self, age: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.is_none_or(|lost| lost.elapsed() > age)
    }
}

impl Connections {
    /// Connections with `options`, at most as many as `settings` says, the one that listens among them.
    pub(crate) async fn open(options: PgConnectOptions, settings: &Pool) -> Result<Self, Error> {
        let trust = Trust::default();
        let session = session::settings(settings);
        let trusted = trust.clone();
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections.saturating_sub(1).max(1))
            .acquire_timeout(settings.wait)
            .after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move { session::set(connection, &session).await })
            })
            // In the place of sqlx's own test, which has no bound but that of the whole.
            .test_before_acquire(false)
            .before_acquire(move |connection, found| {
                let trusted = trusted.clone();
                Box::pin(async move { Ok(is_alive(connection, found.age, &trusted).await) })
            })
            .connect_with(options.clone())
            .await?;
        Ok(Self { pool, options, settings: *settings, trust })
    }

    /// What reads on any connection.
    pub(super) fn reader(&self) -> &Self {
        self
    }

    /// A connection of one's own, for as long as it is kept.
    #[expect(clippy::disallowed_methods, reason = "it is the only way to the pool")]
    pub(crate) async fn acquire(&self) -> Result<Connection, Error> {
        let pooled = self.pool.acquire().await.map_err(|error| match error {
            Error::PoolTimedOut if self.is_used_up() => {
                other(PoolBusyError { connections: self.settings.connections })
            }
            Error::PoolTimedOut => silent(self.settings.wait),
            error => error,
        })?;
        Ok(Connection {
            pooled: Some(pooled),
            unfinished: false,
            answer_max: self.settings.statement.saturating_add(ANSWER_SLACK),
            trust: self.trust.clone(),
        })
    }

    fn is_used_up(&self) -> bool {
        self.pool.num_idle() == 0 && self.pool.size() >= self.pool.options().get_max_connections()
    }

    /// A connection that is none of the pool's: those may be dead, or all in use.
    pub(crate) async fn connect(&self) -> Result<PgConnection, Error> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            session::set(&mut connection, &session::settings(&self.settings)).await?;
            Ok(connection)
        };
        timeout(self.settings.wait, connecting).await.unwrap_or_else(|_| Err(silent(self.settings.wait)))
    }

    /// A connection for notifications. It is apart from the others, so that none of them waits for it to end.
    pub(crate) async fn listener(&self) -> Result<PgListener, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.settings.wait)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.options.clone());
        let listener = PgListener::connect_with(&pool).await;
        listener.map_err(|error| match error {
            Error::PoolTimedOut => silent(self.settings.wait),
            error => error,
        })
    }

    /// How many connections are open, and how many of them are idle.
    pub(crate) fn count(&self) -> (u32, u32) {
        (self.pool.size(), u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX))
    }

    /// Closes all connections, letting what runs on them finish, but not for long.
    pub(crate) async fn close(&self) {
        let _ = timeout(CLOSE_TIME_MAX, self.pool.close()).await;
    }
}

/// Whether an idle connection can be used; `false`: it is closed, and another one is made.
async fn is_alive(connection: &mut PgConnection, age: Duration, trust: &Trust) -> bool {
    if !trust.covers(age) {
        return false;
    }
    match timeout(PING_TIME_MAX, connection.ping()).await {
        Ok(answered) => answered.is_ok(),
        Err(_) => {
            trust.lose();
            false
        }
    }
}

impl Connection {
    /// It is thrown away when it is dropped, whatever was answered on it.
    pub(super) fn discard(&mut self) {
        self.unfinished = true;
    }

    fn pooled(&mut self) -> &mut PgConnection {
        self.pooled.as_mut().expect("only `drop` takes it")
    }

    /// Waits for the answer to one statement.
    async fn answer<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.unfinished = true;
        let answer_max = self.answer_max;
        let answered = timeout(answer_max, ask(self.pooled())).await;
        self.unfinished = answered.as_ref().map_or(true, |answer| !is_answer(answer));
        answered.unwrap_or_else(|_| Err(self.fell_silent()))
    }

    fn fell_silent(&self) -> Error {
        self.trust.lose();
        silent(self.answer_max)
    }
}

/// Whether the server has said all that it has to say: it can be asked something else.
fn is_answer<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Ok(_) | Err(Error::Database(_) | Error::RowNotFound))
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut pooled) = self.pooled.take() else { return };
        if self.unfinished {
            // Its place is free from here on.
            drop(pooled.detach());
        } else if let Ok(runtime) = Handle::try_current() {
            // sqlx asks for a sign of life before it takes a connection back.
            runtime.spawn(timeout(PING_TIME_MAX, pooled.return_to_pool()));
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
        let Connection { pooled, unfinished, answer_max, trust } = self;
        *unfinished = true;
        let answer_max = *answer_max;
        let pooled: &mut PgConnection = pooled.as_mut().expect("only `drop` takes it");
        let steps = pooled.fetch_many(query);
        stream::try_unfold((steps, unfinished, trust), move |(mut steps, unfinished, trust)| async move {
            let Ok(step) = timeout(answer_max, steps.try_next()).await else {
                trust.lose();
                return Err(silent(answer_max));
            };
            if !matches!(step, Ok(Some(_))) {
                *unfinished = !is_answer(&step);
            }
            Ok(step?.map(|step| (step, (steps, unfinished, trust))))
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> Boxed<'e, Option<PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.answer(async move |pooled| pooled.fetch_optional(query).await))
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> Boxed<'e, PgStatement>
    where
        'c: 'e,
    {
        Box::pin(self.answer(async move |pooled| pooled.prepare_with(sql, parameters).await))
    }

    fn describe<'e>(self, sql: SqlStr) -> Boxed<'e, Describe<Postgres>>
    where
        'c: 'e,
    {
        Box::pin(self.answer(async move |pooled| pooled.describe(sql).await))
    }
}

/// Each statement on a connection of its own.
impl<'c> Executor<'c> for &'c Connections {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxedStream<'e, Either<PgQueryResult, PgRow>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // All that comes is held: whoever reads slowly holds no connection.
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

/// What the server did not say within `time`.
fn silent(time: Duration) -> Error {
    other(SilenceError { time })
}

/// An error of ours, on the way that sqlx's errors go; `StoreError` tells it again.
fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io(io::Error::other(error))
}
