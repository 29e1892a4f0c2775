//! What claims see instead of the clock, of random numbers, and of secrets.

use std::collections::BTreeMap;

use runtime::Secrets;
use runtime::notation::Kind;

use crate::dry_run::RunOptions;

/// The settings of a claim.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    started_at_ms: Option<i64>,
    seed: Option<u64>,
    /// By name in lower case.
    headers: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
}

impl Settings {
    /// Applies a statement. Returns `false` if it is no setting.
    pub(super) fn apply(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::At(time) => self.started_at_ms = Some(*time),
            Kind::Seed(seed) => self.seed = Some(*seed),
            Kind::WithHeader { name, value } => {
                self.headers.insert(name.to_ascii_lowercase(), value.clone());
            }
            Kind::WithSecret { name, value } => {
                self.secrets.insert(name.clone(), value.clone());
            }
            _ => return false,
        }
        true
    }

    /// The options of a run; `defaults` are those for all runs.
    pub(super) fn options(&self, defaults: &RunOptions) -> RunOptions {
        RunOptions {
            started_at_ms: self.started_at_ms.or(defaults.started_at_ms),
            seed: self.seed.or(defaults.seed),
            ..defaults.clone()
        }
    }

    /// The headers of a request with this content type.
    pub(super) fn headers(&self, content_type: Option<&str>) -> Vec<(String, String)> {
        let own = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let content_type = content_type.filter(|_| !self.headers.contains_key("content-type"));
        own.chain(content_type.map(|value| ("content-type".to_owned(), value.to_owned()))).collect()
    }

    /// The secrets of the machine and its own, which come first; `None` if it has none.
    pub(super) fn secrets(&self, shared: &Secrets) -> Option<Secrets> {
        if self.secrets.is_empty() {
            return None;
        }
        let own = self.secrets.iter().map(|(name, value)| (name.clone(), value.clone()));
        let shared = shared.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Secrets::new(shared.chain(own).collect()))
    }
}
