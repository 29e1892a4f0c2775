//! The counters of `make bench` on plain axum with PostgreSQL, as the baseline for the state of apps on several nodes. A
//! request is one SERIALIZABLE transaction, which runs again until it is not in conflict with another.
//!
//!     axum_postgres PORT URL

use std::error::Error;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres, Transaction};

const USAGE: &str = "usage: axum_postgres PORT URL";

/// As many as a PiCloud node has.
const CONNECTIONS: u32 = 16;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, number BIGINT NOT NULL)";

/// A transaction that PostgreSQL could not serialize, one that was in a deadlock, and one that inserted the same row.
const CONFLICTS: [&str; 3] = ["40001", "40P01", "23505"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (port, url) = (arguments.next().ok_or(USAGE)?, arguments.next().ok_or(USAGE)?);
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    let app = Router::new().route("/counters/{name}", get(read).post(count)).with_state(pool);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn read(State(pool): State<PgPool>, Path(name): Path<String>) -> Result<Json<Value>, StatusCode> {
    loop {
        if let Some(answer) = answer(try_read(&pool, &name).await) {
            return answer;
        }
    }
}

async fn count(State(pool): State<PgPool>, Path(name): Path<String>) -> Result<Json<Value>, StatusCode> {
    loop {
        if let Some(answer) = answer(try_count(&pool, &name).await) {
            return answer;
        }
    }
}

/// `None`: the transaction was in conflict with another one, and runs again.
fn answer(number: Result<i64, sqlx::Error>) -> Option<Result<Json<Value>, StatusCode>> {
    match number {
        Ok(hits) => Some(Ok(Json(json!({"hits": hits})))),
        Err(error) if is_conflict(&error) => None,
        Err(_) => Some(Err(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

#[expect(clippy::disallowed_methods, reason = "it has no store")]
async fn try_read(pool: &PgPool, name: &str) -> Result<i64, sqlx::Error> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    let number = number(&mut transaction, name).await?;
    transaction.commit().await?;
    Ok(number)
}

#[expect(clippy::disallowed_methods, reason = "it has no store")]
async fn try_count(pool: &PgPool, name: &str) -> Result<i64, sqlx::Error> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
    let number = number(&mut transaction, name).await? + 1;
    let store =
        "INSERT INTO counters VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET number = excluded.number";
    sqlx::query(store).bind(name).bind(number).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(number)
}

async fn number(transaction: &mut Transaction<'_, Postgres>, name: &str) -> Result<i64, sqlx::Error> {
    let number = sqlx::query_scalar("SELECT number FROM counters WHERE name = $1").bind(name);
    Ok(number.fetch_optional(&mut **transaction).await?.unwrap_or(0))
}

fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| CONFLICTS.contains(&code.as_ref()))
}
