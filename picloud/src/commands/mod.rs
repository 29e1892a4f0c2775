//! The verbs of the command line, one room each.

pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod init;
pub(crate) mod serve;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Start(#[from] crate::node::StartError),
    #[error(transparent)]
    Init(#[from] init::InitError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
}
