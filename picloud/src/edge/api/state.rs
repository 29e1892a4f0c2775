//! The state of the API's handlers.

use std::sync::Arc;

use platform::apps::Apps;
use platform::audit::AuditLog;
use platform::deploy::Deployer;
use platform::gc::GarbageCollector;
use platform::live::LiveTable;
use platform::memory::Account;
use platform::nodes::NodeList;
use platform::records::Records;
use platform::schedules::Scheduler;
use platform::secrets::Vault;
use platform::state::State;
use platform::status::StatusChecker;
use platform::tokens::Tokens;

use crate::edge::authenticator::Authenticator;
use crate::edge::functions::FunctionCaller;
use crate::edge::public_url::PublicUrl;
use crate::edge::read_body::BodyLimits;
use crate::edge::shutdown::Shutdown;

/// The state of the API's handlers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) apps: Apps,
    pub(crate) audit: AuditLog,
    pub(crate) collector: GarbageCollector,
    pub(crate) deployer: Deployer,
    pub(crate) functions: FunctionCaller,
    pub(crate) nodes: NodeList,
    pub(crate) records: Records,
    pub(crate) scheduler: Scheduler,
    pub(crate) state: State,
    pub(crate) tokens: Tokens,
    pub(crate) vault: Vault,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) watched: StatusChecker,
    /// The URLs of apps.
    pub(crate) public_url: PublicUrl,
    pub(crate) authenticator: Authenticator,
    pub(crate) shutdown: Arc<Shutdown>,
    /// The limits of request bodies.
    pub(crate) bodies: BodyLimits,
    /// Accounts for request bodies that belong to no app.
    pub(crate) memory: Account,
}
