//! The secrets of the app that is pushed to: which are set, and which values are looked for in what is pushed.

use std::sync::Arc;

use runtime::Secrets;
use store::Environment;

use super::leak_search::LeakSearch;
use crate::secrets::{AppSecrets, SealError};

/// How long a value of production has to be to be looked for in what is pushed by who can only push previews, in bytes. A push can hold
/// millions of guesses, and that one of them is refused says that it is right.
const GUESSED_MAX: usize = 16;

/// The secrets of an app, as a push sees them.
#[derive(Debug, Default)]
pub(super) struct PushSecrets {
    production: Arc<Secrets>,
    preview: Arc<Secrets>,
    /// Those of production that are looked for.
    searched: Secrets,
    search: LeakSearch,
}

impl PushSecrets {
    /// Those of an app, where a push `reads_production`: it can be one to production, whose scripts read them anyway.
    ///
    /// # Errors
    /// One of them cannot be opened, so that nobody knows what the push may not hold.
    pub(super) fn new(secrets: &AppSecrets, reads_production: bool) -> Result<Self, SealError> {
        let of = |environment| secrets.of(environment).cloned().map(Arc::new);
        let (production, preview) = (of(Environment::Production)?, of(Environment::Preview)?);
        let is_searched = |(_, value): &(&str, &str)| reads_production || value.len() >= GUESSED_MAX;
        let searched = production.subset(production.iter().filter(is_searched).map(|(name, _)| name));
        let search = LeakSearch::new([&searched, &preview]);
        Ok(Self { production, preview, searched, search })
    }

    /// Those that an environment has.
    pub(super) fn of(&self, environment: Environment) -> &Arc<Secrets> {
        match environment {
            Environment::Production => &self.production,
            Environment::Preview => &self.preview,
        }
    }

    /// What is looked for.
    pub(super) fn search(&self) -> &LeakSearch {
        &self.search
    }

    /// The text with names in the places of values that are looked for.
    pub(super) fn redact(&self, text: &str) -> String {
        self.preview.redact(&self.searched.redact(text)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_of_production_are_no_game_of_guessing() {
        let set = |values: &[(&str, &str)]| {
            Secrets::new(
                values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            )
        };
        let production = set(&[("PIN", "4711"), ("KEY", "0123456789abcdef")]);
        let secrets = AppSecrets::of_both(production, set(&[("PIN", "1234")]));
        let found = |reads_production| {
            let secrets = PushSecrets::new(&secrets, reads_production).unwrap();
            ["4711", "1234", "0123456789abcdef"].map(|text| {
                let is_found = secrets.search().find(text.as_bytes()).is_some();
                assert_eq!(secrets.redact(text) != text, is_found);
                is_found
            })
        };
        assert_eq!(found(true), [true, true, true]);
        assert_eq!(found(false), [false, true, true]);
    }
}
