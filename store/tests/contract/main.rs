//! What both databases must do alike. Each behaviour is written once and run on both.
//!
//! - `database`, `values`: what the tests are made of
//! - `pushing`, `moving`, `at_once`: the one transaction of a push
//! - `domains`: whose a domain is
//! - `collection`: what nothing holds any more is deleted
//! - `disk`: how much of it an app takes
//! - `lifecycle`: apps that are stopped, renamed, deleted
//! - `limits`: what an app is granted
//! - `objects`: git objects, and the deltas among them
//! - `reading`, `running`: everything else
//! - `reading_little`: by indexes
//! - `recording`: executions and what they logged
//! - `sharing`: what nodes on one PostgreSQL tell each other
//! - `silence`: a PostgreSQL that does not answer, or is held up by others
//! - `status`: what an operator has to look at
//! - `certificates`: for which previews there are any
//! - `backing_up`: everything in one file, from and to either database
//! - `opening`, `migrating`: which databases are taken, and how those of earlier versions are

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
mod backing_up;
mod certificates;
mod collection;
mod database;
mod disk;
mod domains;
mod keeping_secrets;
mod lifecycle;
mod limits;
mod migrating;
mod moving;
mod objects;
mod opening;
mod people;
mod pushing;
mod reading;
mod reading_little;
mod recording;
mod running;
mod sharing;
mod silence;
mod status;
mod values;
