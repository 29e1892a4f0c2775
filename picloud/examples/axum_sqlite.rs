//! The counter of `make bench` on plain axum with SQLite, as the baseline for the state of apps.
//!
//!     axum_sqlite PORT FILE

use std::error::Error;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

const USAGE: &str = "usage: axum_sqlite PORT FILE";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (port, file) = (arguments.next().ok_or(USAGE)?, arguments.next().ok_or(USAGE)?);
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    // SQLite has one writer: more connections would wait for its lock instead of the pool.
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    sqlx::query("CREATE TABLE counters (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")
        .execute(&pool)
        .await?;
    sqlx::query("INSERT INTO counters VALUES ('hits', 0)").execute(&pool).await?;

    let app = Router::new().route("/hits", get(hits).post(count)).with_state(pool);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn count(State(pool): State<SqlitePool>) -> Result<Json<Value>, StatusCode> {
    number(&pool, "UPDATE counters SET number = number + 1 WHERE name = $1 RETURNING number").await
}

async fn hits(State(pool): State<SqlitePool>) -> Result<Json<Value>, StatusCode> {
    number(&pool, "SELECT number FROM counters WHERE name = $1").await
}

async fn number(pool: &SqlitePool, query: &'static str) -> Result<Json<Value>, StatusCode> {
    let hits: i64 = sqlx::query_scalar(query)
        .bind("hits")
        .fetch_one(pool)
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({"hits": hits})))
}
