//! The endpoints of `make bench` on plain axum, as the baseline for HTTP.
//!
//!     bare_axum PORT

use std::error::Error;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("usage: bare_axum PORT")?;
    let app = Router::new()
        .route("/hello/{name}", get(hello))
        .route("/echo", post(echo))
        .route("/fib/{n}", get(fibonacci));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn hello(Path(name): Path<String>) -> Response {
    answer(&json!({"message": format!("Hello, {name}")}))
}

async fn echo(body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(value) => answer(&value),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn fibonacci(Path(n): Path<u32>) -> Response {
    answer(&json!({"fib": fib(n)}))
}

fn answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn fib(n: u32) -> u64 {
    if n < 2 { n.into() } else { fib(n - 1) + fib(n - 2) }
}
