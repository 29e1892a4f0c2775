//! A separate database for each test.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable with the URL of a PostgreSQL on which tests can create databases.
const POSTGRES: &str = "PICLOUD_TEST_POSTGRES";

/// The database of a server. A database on PostgreSQL is dropped with the last value that refers to it.
#[derive(Clone, Debug)]
pub enum Database {
    /// A test's database on PostgreSQL.
    Postgres(Arc<TestDatabase>),
    /// An external database, by its URL.
    At(String),
    /// The embedded database in the server's data folder.
    Sqlite,
}

/// A database that was created for a test.
#[derive(Debug)]
pub struct TestDatabase {
    /// The URL of the administrator's database.
    admin: String,
    name: String,
}

impl Database {
    /// A new, empty database on the PostgreSQL of the tests.
    ///
    /// # Panics
    /// There is no such PostgreSQL: the tests were not run through `make test`.
    pub fn postgres() -> Self {
        let admin = std::env::var(POSTGRES)
            .unwrap_or_else(|_| panic!("run the tests with `make test`, or through tests/with-postgres"));
        Self::on(admin)
    }

    /// A new, empty database on another PostgreSQL, given the URL of its administrator's database.
    pub fn on(admin: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e_{}_{number}", std::process::id());
        psql(&admin, &format!("CREATE DATABASE {name}"));
        Self::Postgres(Arc::new(TestDatabase { admin, name }))
    }

    /// A database on PostgreSQL that outlives the value.
    pub fn at(url: &str) -> Self {
        Self::At(url.to_owned())
    }

    /// The embedded database.
    pub fn sqlite() -> Self {
        Self::Sqlite
    }

    /// The `DATABASE_URL` for a server, if it needs one.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Postgres(made) => {
                let (server, _) = made.admin.rsplit_once('/').expect("a URL with a database");
                Some(format!("{server}/{}", made.name))
            }
            Self::At(url) => Some(url.clone()),
            Self::Sqlite => None,
        }
    }

    /// Whether the database survives the loss of the data folder.
    pub fn is_external(&self) -> bool {
        !matches!(self, Self::Sqlite)
    }

    /// The output of a query, one row per line. PostgreSQL only.
    pub fn query(&self, sql: &str) -> String {
        psql(&self.url().expect("PostgreSQL"), sql)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A PostgreSQL that has exited has removed the database already.
        let _ = try_psql(&self.admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn psql(url: &str, sql: &str) -> String {
    let output = try_psql(url, sql);
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn try_psql(url: &str, sql: &str) -> Output {
    Command::new("psql")
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--command", sql, url])
        .output()
        .expect("psql is installed")
}
