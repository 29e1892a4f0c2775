//! Opening databases, and the errors of those that cannot be opened.

use store::{Location, OpenError, Store};

use crate::database::*;
use crate::fixtures::*;

on_both_databases!(
    reopened_database_keeps_data,
    newer_schema_is_rejected,
    foreign_database_is_rejected,
    database_with_other_table_is_rejected,
    database_with_other_migrations_is_rejected,
);

async fn reopened_database_keeps_data(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let id = store.push(&push(None, 1)).await.unwrap().app.id;
    store.close().await;
    let store = Store::open(&location).await.unwrap();
    assert_eq!(store.revision(id, oid(1)).await.unwrap(), Some(revision(1)));
}

async fn newer_schema_is_rejected(location: Location) {
    Store::open(&location).await.unwrap().close().await;
    let later = "INSERT INTO _sqlx_migrations VALUES (999, 'later', now(), true, '', 0)";
    match &mut Other::at(&location).await {
        other @ Other::Postgres(_) => other.run(later).await,
        other @ Other::Sqlite(_) => {
            other.run("INSERT INTO _sqlx_migrations VALUES (999, 'later', 0, true, x'00', 0)").await;
        }
    }
    assert!(matches!(Store::open(&location).await, Err(OpenError::Newer { found: 999 })));
}

async fn foreign_database_is_rejected(location: Location) {
    let mut other = Other::at(&location).await;
    other.run("CREATE TABLE deploys (something TEXT)").await;
    let error = Store::open(&location).await.unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { table } if table == "deploys"), "{error:?}");
    // No table of ours was created.
    other.run("CREATE TABLE apps (something TEXT); INSERT INTO deploys VALUES ('')").await;
}

async fn database_with_other_table_is_rejected(location: Location) {
    let mut other = Other::at(&location).await;
    other.run("CREATE TABLE photos (something TEXT)").await;
    let error = Store::open(&location).await.unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { table } if table == "photos"), "{error:?}");
    other.run("CREATE TABLE apps (something TEXT); DROP TABLE photos; DROP TABLE apps").await;
    Store::open(&location).await.unwrap();
}

async fn database_with_other_migrations_is_rejected(location: Location) {
    let mut other = Other::at(&location).await;
    let (bytes, now) = match &other {
        Other::Postgres(_) => ("bytea '\\x00'", "timestamptz"),
        Other::Sqlite(_) => ("x'00'", "text"),
    };
    other
        .run(&format!(
            "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, installed_on {now},
                 success boolean NOT NULL, checksum {} NOT NULL, execution_time bigint NOT NULL);
             INSERT INTO _sqlx_migrations VALUES (20240101000000, 'first', '2026-05-01', true, {bytes}, 0)",
            if bytes.starts_with("bytea") { "bytea" } else { "blob" }
        ))
        .await;
    let error = Store::open(&location).await.unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { table } if table == "_sqlx_migrations"), "{error:?}");
    other.run("CREATE TABLE apps (something TEXT)").await;
}

#[tokio::test]
async fn unreachable_server_error_is_descriptive() {
    let nowhere = Store::open(&Location::Sqlite("/nonexistent/picloud.db".into())).await.unwrap_err();
    assert!(matches!(nowhere, OpenError::File { .. }) && nowhere.to_string().contains("/nonexistent"));
    let closed = Store::open(&Location::Postgres("postgres://a@127.0.0.1:1/x".to_owned())).await.unwrap_err();
    assert!(matches!(closed, OpenError::Unreachable(_)), "{closed:?}");
}

#[tokio::test]
async fn unusable_file_error_is_descriptive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picloud.db");
    std::fs::write(&path, "something else, longer than the hundred bytes of a header. ".repeat(20)).unwrap();
    let error = Store::open(&Location::Sqlite(path.clone())).await.unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
}

#[test]
fn location_debug_output_hides_password() {
    let location = Location::Postgres("postgres://ada:hunter2@127.0.0.1/picloud".to_owned());
    assert!(!format!("{location:?}").contains("hunter2"));
}

#[tokio::test]
async fn sqlite_file_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picloud.db");
    let store = Store::open(&Location::Sqlite(path)).await.unwrap();
    store.push(&push(None, 1)).await.unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.file_name());
    }
}
