//! An own database for each test.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable with the URL of a PostgreSQL on which databases may be made.
const POSTGRES: &str = "PICLOUD_TEST_POSTGRES";

/// Where servers keep everything. A database of PostgreSQL is dropped with the last value that names it.
#[derive(Clone, Debug)]
pub enum Database {
    /// A database on a PostgreSQL.
    Postgres(Arc<Made>),
    /// One that somebody else sees to, by its URL.
    At(String),
    /// The embedded one, in the server's data folder.
    Sqlite,
}

/// A database that was made for a test.
#[derive(Debug)]
pub struct Made {
    /// The URL of the administrator's database.
    admin: String,
    name: String,
}

impl Database {
    /// A new, empty database on the tests' PostgreSQL.
    ///
    /// # Panics
    /// There is no such PostgreSQL: the tests were not run through `make test`.
    pub fn postgres() -> Self {
        let admin = std::env::var(POSTGRES)
            .unwrap_or_else(|_| panic!("run the tests with `make test`, or through tests/with-postgres"));
        Self::on(admin)
    }

    /// A new, empty database on the PostgreSQL whose administrator's database has the URL `admin`.
    pub fn on(admin: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e_{}_{number}", std::process::id());
        psql(&admin, &format!("CREATE DATABASE {name}"));
        Self::Postgres(Arc::new(Made { admin, name }))
    }

    /// A database of PostgreSQL that outlives the value.
    pub fn at(url: &str) -> Self {
        Self::At(url.to_owned())
    }

    /// The embedded database.
    pub fn sqlite() -> Self {
        Self::Sqlite
    }

    /// The `DATABASE_URL` for a server, where it needs one.
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

    /// Whether everything survives the loss of the data folder.
    pub fn is_outside_the_data_folder(&self) -> bool {
        !matches!(self, Self::Sqlite)
    }

    /// What a query prints, a line a row. PostgreSQL only.
    pub fn query(&self, sql: &str) -> String {
        psql(&self.url().expect("PostgreSQL"), sql)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // A PostgreSQL that is gone has taken the database with it.
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
