//! Helpers of the end-to-end tests: a [`Server`] that runs the built binary, a [`Repository`] that runs the real git, and
//! their surroundings.
//!
//! - [`server`]: starts, kills and restarts nodes, and sends HTTP requests to them
//! - [`repository`]: a working copy and its pushes
//! - [`database`]: a separate database for each test, on PostgreSQL or SQLite
//! - [`dns`]: a DNS server with the records of a test
//! - [`sqlite`]: another program that uses an embedded database
//! - [`postgres`]: a separate PostgreSQL that a test stops and starts
//! - [`proxy`]: a proxy that cuts connections to PostgreSQL
//! - [`clock`]: processes with a wrong clock
//! - [`pgbouncer`]: a connection pooler in front of PostgreSQL
//! - [`wire`] and [`frames`]: raw HTTP/1.1 and HTTP/2 connections
//! - [`client`]: requests on one connection
//! - [`faults`]: fault injection in short and long forms, seeds, and the time to recovery
//! - [`wait`]: waiting for a condition

pub mod client;
pub mod clock;
pub mod database;
pub mod dns;
pub mod faults;
pub mod frames;
pub mod hold;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod repository;
pub mod server;
pub mod sqlite;
pub mod wait;
pub mod wire;

pub use client::Client;
pub use database::Database;
pub use dns::Dns;
pub use frames::Frames;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use proxy::{Cut, Proxy};
pub use repository::{CommandOutput, Repository};
pub use server::{Response, Server};
pub use wait::{SetOnDrop, until};
pub use wire::Wire;

/// The admin token of every server in the tests.
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
