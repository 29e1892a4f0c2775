//! The table of tokens.

use chrono::{DateTime, Utc};

use super::table::table;
use super::when::{now, when};
use crate::api_types::Token;

/// The table of tokens.
pub(crate) fn list(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "no tokens besides the admin token\n".to_owned();
    }
    let row = |token: &Token| {
        let or_never = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), when);
        let expired = token.expires_at.is_some_and(|end| end <= now());
        let expires = format!("{}{}", or_never(token.expires_at), if expired { " (expired)" } else { "" });
        vec![
            token.name.clone(),
            token.scopes.join(" "),
            when(token.created_at),
            token.created_by.clone(),
            or_never(token.last_used_at),
            expires,
            token.id.to_string(),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    table(&["NAME", "SCOPES", "CREATED", "BY", "LAST USED", "EXPIRES", "ID"], &rows)
}
