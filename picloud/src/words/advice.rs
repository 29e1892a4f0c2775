//! What to do next where a verb failed, in a line of its own behind the error. Most errors say it themselves.

use std::io;

use crate::client::{ApiError, ClientError};
use crate::commands::CommandError;
use crate::node::StartError;

/// What to do about an error.
pub(crate) fn advice(error: &CommandError) -> Option<&'static str> {
    match error {
        CommandError::Client(ClientError::Api(ApiError::Unreachable { .. })) => {
            Some("is a server running there? name another one with --url, or PICLOUD_URL")
        }
        CommandError::Client(ClientError::Api(ApiError::NotUnderstood { .. })) => {
            Some("name the server without a path behind it, such as --url https://pi.example.com")
        }
        CommandError::Start(StartError::Listen { source, .. }) => match source.kind() {
            io::ErrorKind::AddrInUse => {
                Some("something listens there already; name another one with --listen")
            }
            io::ErrorKind::PermissionDenied => Some("ports below 1024 are for root; listen on another one"),
            _ => Some("name an address of this machine with --listen, such as 0.0.0.0:8080"),
        },
        CommandError::Start(StartError::Folder { .. }) => Some("name another folder with --data-dir"),
        CommandError::Read(_) => {
            Some("name the folder that holds picloud.toml, or write a starter app with  picloud init")
        }
        CommandError::Init(_) => Some("name another folder"),
        _ => None,
    }
}
