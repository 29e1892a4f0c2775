//! What a script is called with.

use bytes::Bytes;
use manifest_schema::name::JobName;
use uuid::Uuid;

/// Why a script is run.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The id of this run.
    pub execution_id: Uuid,
    /// The id of the incoming request, kept across function calls.
    pub request_id: Uuid,
    /// What started it.
    pub trigger: Trigger,
}

/// What starts a script.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A request to one of the app's routes.
    Http(HttpRequest),
    /// A call by name.
    Function {
        /// What it is called with: JSON, or nothing.
        payload: Bytes,
    },
    /// A schedule that is due.
    Scheduled {
        /// The schedule.
        name: JobName,
        /// When it was due, as RFC 3339 has it.
        due: String,
    },
}

impl Trigger {
    /// The bytes of the body or payload.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Http(request) => request.body.len(),
            Self::Function { payload } => payload.len(),
            Self::Scheduled { .. } => 0,
        }
    }

    /// The kind, as scripts see it in `ctx.invocation_type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Function { .. } => "function",
            Self::Scheduled { .. } => "scheduled",
        }
    }
}

/// A request to one of an app's routes.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// The method, as it was sent.
    pub method: String,
    /// The path within the app, decoded.
    pub path: String,
    /// The headers in the order they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What the route captured.
    pub params: Vec<(String, String)>,
    /// The query as it was sent, without `?`.
    pub query: String,
    /// What `{*rest}` captured.
    pub rest: Option<String>,
    /// The whole body.
    pub body: Bytes,
}
