//! What a script is called with.

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
        /// The function.
        name: JobName,
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

/// The headers of a request, which are read where a script asks for them.
pub trait Headers: fmt::Debug + Send + Sync {
    /// Shows each by its name, in whatever case, and its value; those of one name in the order in which they came.
    fn each(&self, show: &mut dyn FnMut(&str, &[u8]));
    /// The first value of a header, whatever the case of its name.
    fn first(&self, name: &str) -> Option<&[u8]>;
}

impl Headers for Vec<(String, Vec<u8>)> {
    fn each(&self, show: &mut dyn FnMut(&str, &[u8])) {
        self.iter().for_each(|(name, value)| show(name, value));
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
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
    /// What the route captured, by the names that it gave.
    pub params: Vec<(Arc<str>, String)>,
    /// The query as it was sent, without `?`.
    pub query: String,
    /// What `{*rest}` captured.
    pub rest: Option<String>,
    /// The whole body.
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
