//! The incoming body of a request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

use super::peer::PendingBody;

/// How much of an unread body is discarded, and for how long.
const DISCARD_BYTES_MAX: usize = 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request. When it is dropped before its end, the rest is read and discarded within limits. Otherwise the connection would be
/// reset, on which a client can lose the response (RFC 9112 section 9.6) and a proxy fails its next request with 502.
pub(super) struct RequestBody(Option<(Incoming, PendingBody)>);

impl RequestBody {
    /// Wraps a body; `register` registers it while it is incomplete.
    pub(super) fn new(body: Incoming, register: impl FnOnce() -> PendingBody) -> Self {
        Self((!body.is_end_stream()).then(|| (body, register())))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((body, _)) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some((body, pending)) = self.0.take().filter(|(body, _)| !body.is_end_stream()) else { return };
        if body.size_hint().lower() > DISCARD_BYTES_MAX as u64 {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DISCARD_TIMEOUT, async move {
                let mut rest = Limited::new(body, DISCARD_BYTES_MAX);
                while let Some(Ok(_)) = rest.frame().await {}
                drop(pending);
            }));
        }
    }
}
