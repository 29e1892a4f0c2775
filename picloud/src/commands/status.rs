//! `picloud status`: whether all is well.

use std::process::ExitCode;

use super::{CommandError, show};
use crate::client::{Client, ClientOptions};
use crate::rest::Status;
use crate::words::printable;

/// Says whether all is well; 1 where it is not.
pub(crate) fn status(options: &ClientOptions) -> Result<ExitCode, CommandError> {
    let status: Status = Client::find(options)?.get("status")?;
    show(&status, options.json, words)?;
    Ok(if status.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn words(status: &Status) -> String {
    let mut text = format!(
        "{}\n  version   {}, answering as {}\n  database  {}\n  nodes     {} of {} ready\n  apps      {}, of which {} are live\n",
        if status.well { "All is well." } else { "Not all is well." },
        printable(&status.version),
        printable(&status.node),
        printable(&status.database),
        status.nodes_ready,
        status.nodes,
        status.apps,
        status.apps_live,
    );
    for trouble in &status.troubles {
        text += &format!("  trouble   {}\n", printable(trouble));
    }
    text
}
