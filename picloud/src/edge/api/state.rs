//! What the API reads and changes.

use std::sync::Arc;

use platform::apps::Apps;
use platform::audit::AuditLog;
use platform::collection::Collector;
use platform::deploy::Deployer;
use platform::live::LiveTable;
use platform::memory::Account;
use platform::nodes::Roster;
use platform::records::Records;
use platform::schedules::Scheduler;
use platform::secrets::Vault;
use platform::status::Watched;
use platform::tokens::Tokens;

use crate::edge::body::BodyBounds;
use crate::edge::credentials::Door;
use crate::edge::functions::FunctionCaller;
use crate::edge::public::Public;
use crate::edge::stopping::Stopping;

/// What the API reads and changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) apps: Apps,
    pub(crate) audit: AuditLog,
    pub(crate) collector: Collector,
    pub(crate) deployer: Deployer,
    pub(crate) functions: FunctionCaller,
    pub(crate) nodes: Roster,
    pub(crate) records: Records,
    pub(crate) scheduler: Scheduler,
    pub(crate) tokens: Tokens,
    pub(crate) vault: Vault,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) watched: Watched,
    /// Where apps answer.
    pub(crate) public: Public,
    pub(crate) door: Door,
    pub(crate) stopping: Arc<Stopping>,
    /// How long a client may take to send a body.
    pub(crate) bodies: BodyBounds,
    /// What is held for requests that belong to no app.
    pub(crate) memory: Account,
}
