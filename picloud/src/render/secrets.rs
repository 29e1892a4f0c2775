//! The table of secrets.

use super::table::table;
use super::when::when;
use crate::api_types::{Secret, SecretEnvironment};

/// The table of secrets.
pub(crate) fn list(secrets: &[Secret]) -> String {
    if secrets.is_empty() {
        return "no secrets\n".to_owned();
    }
    let any_lost = secrets.iter().any(|secret| secret.lost);
    let row = |secret: &Secret| {
        let environment = match secret.environment {
            SecretEnvironment::Production => "production",
            SecretEnvironment::Preview => "previews",
        };
        let mut row =
            vec![secret.name.clone(), environment.to_owned(), when(secret.set_at), secret.set_by.clone()];
        if any_lost {
            row.push(if secret.lost { "lost" } else { "" }.to_owned());
        }
        row
    };
    let rows: Vec<_> = secrets.iter().map(row).collect();
    let columns = ["NAME", "ENVIRONMENT", "SET", "BY", "STATE"];
    let mut text = table(&columns[..if any_lost { 5 } else { 4 }], &rows);
    if any_lost {
        text += "hint: the server cannot decrypt lost secrets; restore the key, or set them again\n";
    }
    text
}
