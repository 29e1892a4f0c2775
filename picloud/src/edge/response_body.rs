//! The body of a response, with the memory reserved for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, SizeHint};
use platform::memory::{Account, OutOfMemory, Purpose};

use super::response;

/// The size up to which no memory is reserved. An HTTP/1.1 connection buffers one such response at most, and flow control limits HTTP/2.
const UNRESERVED_MAX: usize = 16 * 1024;

/// How much of a body is passed to hyper at a time: it copies what it writes in parts.
const CHUNK: usize = 64 * 1024;

/// The body of a response. Bodies of scripts are complete and need no boxed stream.
pub(crate) enum ResponseBody {
    /// The rest of a complete body.
    Full(Bytes),
    /// A body that is produced while it is sent.
    Stream(Body),
}

impl ResponseBody {
    /// A complete body, which reserves its memory until it is sent.
    ///
    /// # Errors
    /// The account is out of memory.
    pub(super) fn reserved(bytes: Bytes, account: &Account) -> Result<Self, OutOfMemory> {
        if bytes.len() <= UNRESERVED_MAX {
            return Ok(Self::Full(bytes));
        }
        let reservation = account.try_reserve(Purpose::Responses, bytes.len() as u64)?;
        Ok(Self::Full(reservation.into_bytes(bytes)))
    }
}

/// Marks a response whose body has reserved its memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryReserved;

/// Reserves the memory of a response whose body is complete and large.
pub(super) async fn reserve(response: Response<Body>, account: &Account) -> Response<ResponseBody> {
    let (parts, body) = response.into_parts();
    let is_small = |bytes: u64| bytes <= UNRESERVED_MAX as u64;
    if parts.extensions.get::<MemoryReserved>().is_some() || body.size_hint().exact().is_none_or(is_small) {
        return Response::from_parts(parts, ResponseBody::Stream(body));
    }
    let reserved = match body.collect().await {
        Ok(whole) => ResponseBody::reserved(whole.to_bytes(), account),
        Err(error) => return response::unavailable(&error).map(ResponseBody::from),
    };
    match reserved {
        Ok(body) => Response::from_parts(parts, body),
        Err(error) => response::out_of_memory(&error).map(ResponseBody::from),
    }
}

/// Removes the body from a response that must not have one (RFC 9110 sections 9.3.2 and 15). hyper omits it in HTTP/1.1 only where it would
/// be read as the next response, and never in HTTP/2.
pub(crate) fn without_forbidden_body(
    mut response: Response<ResponseBody>,
    is_head: bool,
) -> Response<ResponseBody> {
    let is_bodiless = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !is_head && !is_bodiless {
        return response;
    }
    let body = std::mem::replace(response.body_mut(), ResponseBody::Full(Bytes::new()));
    if is_head
        && !is_bodiless
        && let Some(length) = body.size_hint().exact()
    {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response
}

impl From<Body> for ResponseBody {
    fn from(body: Body) -> Self {
        Self::Stream(body)
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.split_to(bytes.len().min(CHUNK)))))),
            Self::Stream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
