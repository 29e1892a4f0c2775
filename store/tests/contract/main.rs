//! What both databases must do alike. Each behaviour is written once and run on both.
//!
//! - `database`, `values`: what the tests are made of
//! - `pushing`, `moving`, `at_once`: the one transaction of a push
//! - `reading`, `running`: everything else
//! - `opening`: which databases are taken

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

/// Makes each function two tests, `postgres::` and `sqlite::`, with an empty database of its own.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                crate::database::on_postgres(super::$name).await
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                crate::database::on_sqlite(super::$name).await
            })*
        }
    };
}

mod at_once;
mod database;
mod moving;
mod opening;
mod pushing;
mod reading;
mod running;
mod values;
