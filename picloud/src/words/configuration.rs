//! What is said of settings.

use super::fault::{self, SHOWN_MAX};
use super::table::table;
use super::{count, printable, with_causes};
use crate::cli::{Given, Misuse};

/// Why nothing is begun. What clap has to say it says itself.
pub(crate) fn misuse(misuse: &Misuse) -> String {
    match misuse {
        Misuse::Flags(error) => error.to_string(),
        Misuse::File(faults) => {
            format!("{}error: {}\n", fault::list(faults, SHOWN_MAX), count(faults.errors(), "wrong setting"))
        }
        Misuse::Unreadable { path, source } => {
            let path = printable(&path.display().to_string());
            format!("error: cannot read the settings {path}: {}\n", with_causes(source))
        }
        Misuse::Variable { name, advice } => {
            format!("error: unknown variable {}; {advice}\n", printable(name))
        }
        Misuse::Secret(error) => format!("error: {}\n", with_causes(error)),
    }
}

/// All settings are as they may be.
pub(crate) fn right(given: &[Given]) -> String {
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
