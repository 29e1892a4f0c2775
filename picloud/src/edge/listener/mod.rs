//! Accepts connections, within bounds, until told to stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Edge;

/// The most connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 10_000;

/// The longest a client may take to send the head of a request, and the longest an idle connection is kept.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// The most header lines of a request.
const HEADERS_MAX: usize = 100;

/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long running requests may go on after a stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// Serves `edge` on `listener` until `stop` is done, then lets running requests finish.
pub(crate) async fn serve(listener: TcpListener, edge: Edge, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => break,
        };
        let Some((stream, place)) = accepted else { continue };
        // Answers are small and complete; waiting to fill packets only delays them.
        let _ = stream.set_nodelay(true);
        let edge = edge.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let edge = edge.clone();
            async move { Ok::<_, Infallible>(edge.answer(request.map(Body::new)).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that ends badly is the client's matter.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still running and were cut off");
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(tokio::net::TcpStream, Place)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Most often the process is out of file descriptors; others must finish first.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
