//! A database for each test, and a second client of it.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection as _, PgConnection};
use store::Location;

pub(crate) async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Location) -> F) {
    let folder = tempfile::tempdir().unwrap();
    test(Location::Sqlite(folder.path().join("picloud.db"))).await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Location) -> F) {
    let (admin, name) = make_database().await;
    let (server, _) = admin.rsplit_once('/').unwrap();
    test(Location::Postgres(format!("{server}/{name}"))).await;
    let mut connection = connect(&admin).await;
    let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::raw_sql(drop).execute(&mut connection).await.unwrap();
}

async fn make_database() -> (String, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let admin = std::env::var("PICLOUD_TEST_POSTGRES")
        .unwrap_or_else(|_| panic!("run the tests with `make test`, or through tests/with-postgres"));
    let name = format!("store_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = connect(&admin).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    (admin, name)
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// A second client. Its locks are released on drop.
pub(crate) enum Other {
    Postgres(PgConnection),
    Sqlite(sqlx::SqliteConnection),
}

impl Other {
    pub(crate) async fn at(location: &Location) -> Self {
        match location {
            Location::Postgres(url) => Self::Postgres(connect(url).await),
            Location::Sqlite(path) => {
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
                Self::Sqlite(sqlx::SqliteConnection::connect_with(&options).await.unwrap())
            }
        }
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql);
        match self {
            Self::Postgres(connection) => drop(sqlx::raw_sql(sql).execute(connection).await.unwrap()),
            Self::Sqlite(connection) => drop(sqlx::raw_sql(sql).execute(connection).await.unwrap()),
        }
    }

    /// The number of rows of a table.
    pub(crate) async fn rows(&mut self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        match self {
            Self::Postgres(connection) => sqlx::query_scalar(sql).fetch_one(connection).await.unwrap(),
            Self::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(connection).await.unwrap(),
        }
    }

    pub(crate) async fn hold_everything(&mut self) {
        match self {
            Self::Postgres(_) => self.run("BEGIN; LOCK TABLE apps IN SHARE MODE").await,
            Self::Sqlite(_) => self.run("BEGIN IMMEDIATE").await,
        }
    }
}
