//! The vocabulary of the end-to-end tests: a [`Server`] that is the built binary, a [`Repository`] that is driven by the
//! real git, and what one sees of both.
//!
//! - [`server`]: starts, kills and restarts nodes, and asks them over HTTP
//! - [`repository`]: a working copy and its pushes
//! - [`database`]: an own database for each test, on PostgreSQL or SQLite
//! - [`dns`]: a DNS server with the records of a test
//! - [`sqlite`]: another program at an embedded one
//! - [`postgres`]: a PostgreSQL of a test's own, to be stopped and started
//! - [`proxy`]: what cuts the connections to it
//! - [`clock`]: processes whose clock is wrong
//! - [`pgbouncer`]: a connection pooler in front of one
//! - [`wire`] and [`frames`]: connections by the byte and by the frame, for what no client does
//! - [`faults`]: short and long forms of faults, their seeds, and the time to recovery
//! - [`wait`]: waiting for a condition, never for a time

pub mod clock;
pub mod database;
pub mod dns;
pub mod faults;
pub mod frames;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod repository;
pub mod server;
pub mod sqlite;
pub mod wait;
pub mod wire;

pub use database::Database;
pub use dns::Dns;
pub use frames::Frames;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use proxy::{Cut, Proxy};
pub use repository::{Pushed, Repository};
pub use server::{Answer, Server};
pub use wait::until;
pub use wire::Wire;

/// The token of every server in the tests.
pub const TOKEN: &str = "test-token-0123456789abcdef0123456789";

/// Declares each named function as a test on both databases. The functions take a [`Database`].
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[test] fn $name() { super::$name($crate::Database::postgres()) })*
        }
        mod sqlite {
            $(#[test] fn $name() { super::$name($crate::Database::sqlite()) })*
        }
    };
}
