//! A PostgreSQL that does not respond while connections stay open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use store::{Location, PoolConfig, PushError, Store, StoreError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::database::*;
use crate::fixtures::*;

/// A small pool with short timeouts: a statement times out after six seconds.
const POOL: PoolConfig = PoolConfig {
    max_connections: 4,
    acquire_timeout: Duration::from_secs(1),
    statement_timeout: Duration::from_secs(1),
};

/// A proxy that can stop forwarding.
struct Way {
    address: String,
    cuts: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
}

impl Way {
    async fn to(url: &str) -> (Self, Location) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (before, database) = url.rsplit_once('/').unwrap();
        let (user, server) = before.rsplit_once('@').unwrap();
        let through = Location::Postgres(format!("{user}@{address}/{database}"));
        let server = server.to_owned();
        let (cuts, taken) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let way = Self { address, cuts: Arc::clone(&cuts), taken: Arc::clone(&taken) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::Relaxed);
                let (server, cuts) = (server.clone(), Arc::clone(&cuts));
                let made = cuts.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    if made % 2 == 1 {
                        return silence(client.into_split().0).await;
                    }
                    let (read, write) = client.into_split();
                    let (server_read, server_write) = TcpStream::connect(server).await.unwrap().into_split();
                    tokio::join!(
                        pass(read, server_write, &cuts, made),
                        pass(server_read, write, &cuts, made)
                    );
                });
            }
        });
        (way, through)
    }

    /// Stops forwarding on all connections.
    fn cut(&self) {
        let was = self.cuts.fetch_add(1, Ordering::Relaxed);
        assert_eq!(was % 2, 0, "{} is cut", self.address);
    }

    /// Forwards new connections only, like a router that lost its connection table.
    fn mend(&self) {
        let was = self.cuts.fetch_add(1, Ordering::Relaxed);
        assert_eq!(was % 2, 1, "{} is not cut", self.address);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cuts: &AtomicU64, made: u64) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if cuts.load(Ordering::Relaxed) != made {
            silence(from).await;
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Discards everything it receives.
async fn silence(mut from: OwnedReadHalf) {
    let mut buffer = vec![0; 64 << 10];
    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Waits for the task that returns a connection to the pool.
async fn until_idle(store: &Store) {
    while store.connections().is_none_or(|(open, idle)| open == 0 || idle < open) {
        tokio::task::yield_now().await;
    }
}

fn at(location: &Location) -> &str {
    let Location::Postgres(url) = location else { unreachable!("it is PostgreSQL") };
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn unresponsive_server_times_out_and_frees_connections() {
    on_postgres(async |location: Location| {
        let (way, through) = Way::to(at(&location)).await;
        let store = Store::open_with(&through, &POOL).await.unwrap();
        let id = store.push(&push(None, 1)).await.unwrap().app.id;
        // A statement that waits for a lock keeps its connection.
        let mut other = Other::at(&location).await;
        other.run("BEGIN; LOCK TABLE deploys IN ACCESS EXCLUSIVE MODE").await;
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.deploys(id).await })
            })
            .collect();
        let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let mut watching = connect(at(&location)).await;
        while sqlx::query_scalar::<_, i64>(held).fetch_one(&mut watching).await.unwrap() < 3 {}
        way.cut();
        let since = Instant::now();
        for waited in waiting {
            let found = waited.await.unwrap();
            assert!(matches!(found, Err(StoreError::Unresponsive(_))), "{found:?}");
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
        assert_eq!(store.connections(), Some((0, 0)), "slots of the pool are free");
        let found = store.time().await;
        assert!(matches!(found, Err(StoreError::Unresponsive(_))), "{found:?}");
        other.run("ROLLBACK").await;
        way.mend();
        assert_eq!(store.deploys(id).await.unwrap().len(), 1, "at once on a new connection");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_idle_connections_cost_one_timeout() {
    on_postgres(async |location: Location| {
        let (way, through) = Way::to(at(&location)).await;
        let store = Store::open_with(
            &through,
            &PoolConfig { max_connections: 12, acquire_timeout: Duration::from_secs(5), ..POOL },
        )
        .await
        .unwrap();
        let many: Vec<_> = (0..11)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.time().await })
            })
            .collect();
        for one in many {
            one.await.unwrap().unwrap();
        }
        until_idle(&store).await;
        way.cut();
        way.mend();
        let since = Instant::now();
        for _ in 0..12 {
            store.time().await.unwrap();
        }
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_statement_frees_connection() {
    on_postgres(async |location: Location| {
        let (way, through) = Way::to(at(&location)).await;
        let store =
            Store::open_with(&through, &PoolConfig { acquire_timeout: Duration::from_secs(5), ..POOL })
                .await
                .unwrap();
        store.time().await.unwrap();
        until_idle(&store).await;
        way.cut();
        let asked = tokio::time::timeout(Duration::from_millis(500), store.time()).await;
        assert!(asked.is_err(), "{asked:?}");
        way.mend();
        let taken = way.taken.load(Ordering::Relaxed);
        store.time().await.unwrap();
        assert!(way.taken.load(Ordering::Relaxed) > taken, "on another connection");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_closes_while_server_is_unresponsive() {
    on_postgres(async |location: Location| {
        let (way, through) = Way::to(at(&location)).await;
        let store = Store::open_with(&through, &POOL).await.unwrap();
        let id = store.push(&push(None, 1)).await.unwrap().app.id;
        let mut other = Other::at(&location).await;
        other.run("BEGIN; LOCK TABLE deploys IN ACCESS EXCLUSIVE MODE").await;
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.deploys(id).await }
        });
        let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let mut watching = connect(at(&location)).await;
        while sqlx::query_scalar::<_, i64>(held).fetch_one(&mut watching).await.unwrap() < 1 {}
        way.cut();
        let since = Instant::now();
        store.close().await;
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        assert!(waiting.await.unwrap().is_err());
        other.run("ROLLBACK").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_timeout_is_reported_as_locked() {
    on_postgres(async |location: Location| {
        let store = Store::open(&location).await.unwrap();
        let id = store.push(&push(None, 1)).await.unwrap().app.id;
        let mut other = Other::at(&location).await;
        other.run("BEGIN; LOCK TABLE deploys IN ACCESS EXCLUSIVE MODE").await;
        let found = store.deploys(id).await;
        assert!(matches!(found, Err(StoreError::Locked)), "{found:?}");
        let found = store.push(&push(Some(1), 2)).await;
        assert!(matches!(found, Err(PushError::Store(StoreError::Locked))), "{found:?}");
        // Locks the row of the app, like a push.
        other.run("ROLLBACK; BEGIN; SELECT 1 FROM apps FOR UPDATE").await;
        let found = store.push(&push(Some(1), 2)).await;
        assert!(matches!(found, Err(PushError::Busy)), "{found:?}");
        other.run("ROLLBACK").await;
        store.push(&push(Some(1), 2)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicting_transaction_is_retried_once() {
    on_postgres(async |location: Location| {
        let store = Store::open(&location).await.unwrap();
        let mut other = connect(at(&location)).await;
        let mut deploys = 0;
        for code in ["40001", "40P01"] {
            for when in ["", "DEFERRABLE INITIALLY DEFERRED"] {
                let fail_twice = format!(
                    "DROP SEQUENCE IF EXISTS tried; CREATE SEQUENCE tried;
                     CREATE OR REPLACE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS
                     'BEGIN IF nextval(''tried'') <= 2 THEN RAISE EXCEPTION ''met'' USING ERRCODE = ''{code}''; END IF; RETURN NULL; END';
                     DROP TRIGGER IF EXISTS meet ON deploys;
                     CREATE CONSTRAINT TRIGGER meet AFTER INSERT ON deploys {when} FOR EACH ROW EXECUTE FUNCTION meet()"
                );
                sqlx::raw_sql(AssertSqlSafe(fail_twice)).execute(&mut other).await.unwrap();
                let before = (deploys > 0).then_some(deploys);
                deploys += 1;
                let receipt = store.push(&push(before, deploys)).await.unwrap();
                assert_eq!(receipt.deploys, [number(u64::from(deploys))]);
                let tried: i64 = sqlx::query_scalar("SELECT last_value FROM tried").fetch_one(&mut other).await.unwrap();
                assert_eq!(tried, 3);
            }
        }
        let counted = "SELECT (SELECT count(*) FROM deploys) + (SELECT count(*) FROM audit_events WHERE deploy IS NOT NULL)";
        let counted: i64 = sqlx::query_scalar(counted).fetch_one(&mut other).await.unwrap();
        assert_eq!(counted, 8, "each is stored once");
    })
    .await;
}
