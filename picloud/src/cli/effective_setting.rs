//! The output of `picloud serve --check-config`: the settings that are set, and their sources.

use crate::render::count;
use crate::render::table::table;
use crate::settings::{Secret, Settings};

/// A setting that differs from its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EffectiveSetting {
    /// The key of the config file.
    pub(crate) name: String,
    /// The value; hidden for secrets.
    pub(crate) value: String,
    /// The source: a flag, a variable or a line of the config file.
    pub(crate) source: String,
}

/// The secrets among the settings, with hidden values.
fn secrets(settings: &Settings) -> impl Iterator<Item = EffectiveSetting> {
    let hidden = |name: &str, secret: &Option<Secret>| {
        let source = secret.as_ref()?.source.clone();
        Some(EffectiveSetting { name: name.to_owned(), value: "…".to_owned(), source })
    };
    let token = hidden("admin_token", &settings.admin_token);
    token.into_iter().chain(hidden("database_url", &settings.storage.database_url))
}

/// The report of valid settings.
pub(crate) fn report(mut effective: Vec<EffectiveSetting>, settings: &Settings) -> String {
    effective.extend(secrets(settings));
    if effective.is_empty() {
        return "success: all settings are at their defaults\n".to_owned();
    }
    let row = |setting: &EffectiveSetting| {
        vec![setting.name.clone(), setting.value.clone(), setting.source.clone()]
    };
    let rows: Vec<Vec<String>> = effective.iter().map(row).collect();
    format!(
        "{}success: {}; all others are at their defaults\n",
        table(&["SETTING", "VALUE", "SOURCE"], &rows),
        count(effective.len(), "setting")
    )
}
