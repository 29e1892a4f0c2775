//! `picloud audit`: the audit log.

use super::error::CommandError;
use super::output::{next_page_hint, page_query, show};
use crate::api_types::Audit;
use crate::cli::AuditArgs;
use crate::client::Client;
use crate::render::audit;

pub(crate) fn audit(options: &AuditArgs) -> Result<(), CommandError> {
    let app = options.app.as_ref().map(|app| format!("&app={}", app.as_str())).unwrap_or_default();
    let path = format!("audit?{}{app}", page_query(&options.page));
    let audit: Audit = Client::find(&options.client)?.get(&path)?;
    show(&audit, options.client.json, |audit| {
        audit::list(&audit.events) + next_page_hint(audit.next_cursor.as_deref()).as_str()
    })
}
