//! The input of an execution.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use manifest_schema::execution::TriggerKind;
use manifest_schema::method::Method;
use manifest_schema::name::{JobName, ScriptPath};
use uuid::Uuid;

/// One call of a script.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The script.
    pub script: ScriptPath,
    /// The id of this execution.
    pub execution_id: Uuid,
    /// The id of the incoming request, kept across function calls.
    pub request_id: Uuid,
    /// What started the script.
    pub trigger: Trigger,
}

/// What starts a script.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A request to one of the app's routes.
    Http(HttpRequest),
    /// A function call by name.
    Function {
        /// The function.
        name: JobName,
        /// The JSON payload; may be empty.
        payload: Bytes,
    },
    /// A due schedule.
    Scheduled {
        /// The schedule.
        name: JobName,
        /// The due time, in RFC 3339.
        due_at: String,
    },
}

impl Trigger {
    /// The length of the body or payload.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Http(request) => request.body.len(),
            Self::Function { payload, .. } => payload.len(),
            Self::Scheduled { .. } => 0,
        }
    }

    /// The kind, as scripts see it in `ctx.invocation_type`.
    pub fn kind(&self) -> TriggerKind {
        match self {
            Self::Http(_) => TriggerKind::Http,
            Self::Function { .. } => TriggerKind::Function,
            Self::Scheduled { .. } => TriggerKind::Scheduled,
        }
    }
}

/// The headers of a request, read only when a script needs them.
pub trait Headers: fmt::Debug + Send + Sync {
    /// Passes every name, in any case, and its value to `visit`; repeated headers in the order received.
    fn for_each(&self, visit: &mut dyn FnMut(&str, &[u8]));
    /// The first value of a header; the name is case-insensitive.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

impl Headers for Vec<(String, Vec<u8>)> {
    fn for_each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.iter().for_each(|(name, value)| visit(name, value));
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }
}

/// A request to one of an app's routes.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method, which the route allows.
    pub method: Method,
    /// The path within the app, decoded.
    pub path: String,
    /// The headers.
    pub headers: Arc<dyn Headers>,
    /// The route's captures by name.
    pub params: Vec<(Arc<str>, String)>,
    /// The raw query, without `?`.
    pub query: String,
    /// The value of `{*rest}`.
    pub rest: Option<String>,
    /// The complete body.
    pub body: Bytes,
}

impl Default for HttpRequest {
    fn default() -> Self {
        Self {
            method: Method::Get,
            path: String::new(),
            headers: Arc::new(Vec::new()),
            params: Vec::new(),
            query: String::new(),
            rest: None,
            body: Bytes::new(),
        }
    }
}
