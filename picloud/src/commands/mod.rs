//! The commands of the command line, a module each.

pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod backup;
mod backup_error;
pub(crate) mod check;
pub(crate) mod definitions;
pub(crate) mod demo;
pub(crate) mod deploys;
pub(crate) mod dev;
pub(crate) mod domains;
mod error;
pub(crate) mod executions;
mod folder;
mod git_status;
pub(crate) mod init;
pub(crate) mod invoke;
mod lifecycle;
mod limits;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod nodes;
mod output;
mod prompt;
mod record;
pub(crate) mod restore;
pub(crate) mod schedules;
pub(crate) mod schema;
pub(crate) mod secrets;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod status;
mod stop_signals;
pub(crate) mod test;
pub(crate) mod tokens;

pub(crate) use error::CommandError;
pub(crate) use output::print_styled;
