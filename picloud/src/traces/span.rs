//! A recorded span.

use std::time::SystemTime;

/// A span while it is open and in the queue.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: u128,
    pub(super) id: u64,
    /// The parent span; 0 for a root.
    pub(super) parent: u64,
    /// Whether the trace is sampled, as decided at its root.
    pub(super) sampled: bool,
    /// Whether the span is the server side of a request.
    pub(super) is_server: bool,
    pub(super) name: String,
    pub(super) started_at: SystemTime,
    pub(super) ended_at: SystemTime,
    pub(super) attributes: Vec<(&'static str, Value)>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Bool(bool),
}
