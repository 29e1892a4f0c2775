//! What is sent of a span.

use std::time::SystemTime;

/// A span as long as it goes on, and as it is handed on.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: u128,
    pub(super) id: u64,
    /// The span around it, 0 where there is none.
    pub(super) parent: u64,
    /// Whether the trace is kept, which whoever began it decides.
    pub(super) sampled: bool,
    /// Whether it answers a request from outside.
    pub(super) serves: bool,
    pub(super) name: String,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) attributes: Vec<(&'static str, Value)>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Truth(bool),
}
