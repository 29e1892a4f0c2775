//! An own database for each test.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable with the URL of a PostgreSQL on which databases may be made.
const POSTGRES: &str = "PICLOUD_TEST_POSTGRES";

/// Where a server keeps everything. A database of PostgreSQL is dropped with its value.
#[derive(Debug)]
pub enum Database {
    /// A database of its own on the tests' PostgreSQL.
    Postgres {
        /// The server's own URL.
        admin: String,
        /// The database's name.
        name: String,
    },
    /// The embedded one, in the server's data folder.
    Sqlite,
}

impl Database {
    /// A new, empty database on the tests' PostgreSQL.
    ///
    /// # Panics
    /// There is no such PostgreSQL: the tests were not run through `make test`.
    pub fn postgres() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let admin = std::env::var(POSTGRES)
            .unwrap_or_else(|_| panic!("run the tests with `make test`, or through tests/with-postgres"));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("journey_{}_{number}", std::process::id());
        psql(&admin, &format!("CREATE DATABASE {name}"));
        Self::Postgres { admin, name }
    }

    /// The embedded database.
    pub fn sqlite() -> Self {
        Self::Sqlite
    }

    /// The `DATABASE_URL` for a server, where it needs one.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Postgres { admin, name } => {
                let (server, _) = admin.rsplit_once('/').expect("a URL with a database");
                Some(format!("{server}/{name}"))
            }
            Self::Sqlite => None,
        }
    }

    /// Whether everything survives the loss of the data folder.
    pub fn is_outside_the_data_folder(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// What a query prints, a line a row. PostgreSQL only.
    pub fn query(&self, sql: &str) -> String {
        psql(&self.url().expect("PostgreSQL"), sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { admin, name } = self {
            psql(admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--command", sql, url])
        .output()
        .expect("psql is installed");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
