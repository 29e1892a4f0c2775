//! The app's secrets during a push: which are set, and which values are searched for in the pushed objects.

use std::sync::Arc;

use runtime::Secrets;
use store::Environment;

use super::leak_search::LeakSearch;
use crate::secrets::{AppSecrets, CipherError};

/// The minimum length of production values that are searched in pushes by callers who can only push previews.
/// Otherwise a push with millions of guesses could find a short value, since a rejection confirms it.
const UNGUESSABLE_BYTES_MIN: usize = 16;

/// The secrets of an app in a push.
#[derive(Debug, Default)]
pub(super) struct PushSecrets {
    production: Arc<Secrets>,
    preview: Arc<Secrets>,
    /// The production values that are searched for.
    searched: Secrets,
    search: LeakSearch,
}

impl PushSecrets {
    /// Collects the secrets of an app. `reads_production`: the pusher can deploy to production, whose scripts
    /// can read the values anyway.
    ///
    /// # Errors
    /// A secret cannot be decrypted, so that pushes cannot be searched for it.
    pub(super) fn new(secrets: &AppSecrets, reads_production: bool) -> Result<Self, CipherError> {
        let of = |environment| secrets.of(environment).cloned().map(Arc::new);
        let (production, preview) = (of(Environment::Production)?, of(Environment::Preview)?);
        let is_searched =
            |(_, value): &(&str, &str)| reads_production || value.len() >= UNGUESSABLE_BYTES_MIN;
        let searched = production.subset(production.iter().filter(is_searched).map(|(name, _)| name));
        let search = LeakSearch::new([&searched, &preview]);
        Ok(Self { production, preview, searched, search })
    }

    /// The secrets of an environment.
    pub(super) fn of(&self, environment: Environment) -> &Arc<Secrets> {
        match environment {
            Environment::Production => &self.production,
            Environment::Preview => &self.preview,
        }
    }

    /// The search for their values.
    pub(super) fn search(&self) -> &LeakSearch {
        &self.search
    }

    /// The text with secret values replaced by their names.
    pub(super) fn redact(&self, text: &str) -> String {
        self.preview.redact(&self.searched.redact(text)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_production_values_cannot_be_guessed_by_pushes() {
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
