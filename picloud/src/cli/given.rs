//! What `picloud serve --check-config` says: which settings are set, and where.

use crate::settings::{Secret, Settings};
use crate::words::count;
use crate::words::table::table;

/// A setting that is not left as it is by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// Its name, as the file has it.
    pub(crate) name: String,
    /// Its value; of a secret, nothing.
    pub(crate) value: String,
    /// Where it was set: a flag, a variable, a line of the file.
    pub(crate) from: String,
}

/// The secrets that settings have, by their names alone.
fn secrets(settings: &Settings) -> impl Iterator<Item = Given> {
    let given = |name: &str, secret: &Option<Secret>| {
        let from = secret.as_ref()?.from.clone();
        Some(Given { name: name.to_owned(), value: "…".to_owned(), from })
    };
    let token = given("admin_token", &settings.admin_token);
    token.into_iter().chain(given("database_url", &settings.storage.database_url))
}

/// All settings are as they may be: what is `given`, and the secrets.
pub(crate) fn listed(mut given: Vec<Given>, settings: &Settings) -> String {
    given.extend(secrets(settings));
    if given.is_empty() {
        return "success: nothing is set, everything is as it is by itself\n".to_owned();
    }
    let rows: Vec<Vec<String>> =
        given.iter().map(|given| vec![given.name.clone(), given.value.clone(), given.from.clone()]).collect();
    format!(
        "{}success: {}, the rest is as it is by itself\n",
        table(&["SETTING", "VALUE", "FROM"], &rows),
        count(given.len(), "setting")
    )
}
