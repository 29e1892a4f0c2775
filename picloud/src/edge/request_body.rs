//! The body of a request on its way in.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

use super::peer::ComingBody;

/// How much of a body that nobody wants is read, and for how long.
const DISCARDED_MAX: usize = 1024 * 1024;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// The body of a request. Where it is answered before the body is read to its end, the rest is read and discarded within bounds:
/// otherwise the connection would be reset, on which a client can lose the answer (RFC 9112 section 9.6), and a proxy that keeps it
/// answers its next request with 502.
pub(super) struct RequestBody(Option<(Incoming, ComingBody)>);

impl RequestBody {
    /// A body, which is noted by `begins` where it is still to come.
    pub(super) fn new(body: Incoming, begins: impl FnOnce() -> ComingBody) -> Self {
        Self((!body.is_end_stream()).then(|| (body, begins())))
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
        let Some((body, coming)) = self.0.take().filter(|(body, _)| !body.is_end_stream()) else { return };
        if body.size_hint().lower() > DISCARDED_MAX as u64 {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DISCARD_TIME_MAX, async move {
                let mut rest = Limited::new(body, DISCARDED_MAX);
                while let Some(Ok(_)) = rest.frame().await {}
                drop(coming);
            }));
        }
    }
}
