//! Whose a domain is: the server's own names, which no app has, and the proof that a domain is an app's.
//!
//! Who holds the DNS of a domain proves it with a TXT record that names the app ([`challenge`]), which [`txt_lookup`] asks for. Who cannot
//! do that asks an admin. The store remembers what was proven, so that nothing depends on DNS afterwards.

pub mod txt_lookup;

use std::collections::BTreeSet;
use std::time::Duration;

use manifest_schema::name::DomainName;
use sha2::{Digest as _, Sha256};
use store::{AppId, DomainProof};
use tokio::task::JoinSet;
use tokio::time::timeout;

use txt_lookup::{TxtLookup, TxtLookupError};

/// The label in front of a domain where its proof stands.
const CHALLENGE_LABEL: &str = "_picloud-challenge";

/// What a proof begins with.
const CHALLENGE_KEY: &str = "picloud-domain=";

/// How long a push waits for DNS.
const PUSH_LOOKUP_MAX: Duration = Duration::from_secs(3);

/// The names of the control plane, all of them in lower case. No app can have one as its domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNames {
    /// The domain whose subdomains are apps: it and all names below it.
    domain: Option<String>,
    /// The others, without what is below them.
    names: BTreeSet<String>,
}

impl OwnNames {
    /// The names of a server: its domain with all that is below it, and others.
    pub fn new(domain: Option<&str>, names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self { domain: domain.map(str::to_ascii_lowercase), names: names.collect() }
    }

    /// The domain whose subdomains are apps.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Whether `name` is the server's, whatever the case of its letters.
    pub fn contains(&self, name: &str) -> bool {
        let within = |domain: &str| {
            let Some(front) = name.len().checked_sub(domain.len()) else { return false };
            name.is_char_boundary(front)
                && name[front..].eq_ignore_ascii_case(domain)
                && (front == 0 || name[..front].ends_with('.'))
        };
        self.domain.as_deref().is_some_and(within)
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The DNS record that proves that a domain is an app's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The name of the record.
    pub record: String,
    /// What it says.
    pub value: String,
}

/// The record that proves that `domain` is the app's. It is no secret: only who holds the DNS of the domain can set it.
pub fn challenge(app: AppId, domain: &DomainName) -> Challenge {
    let mut hash = Sha256::new();
    hash.update(b"picloud domain\0");
    hash.update(app.as_uuid().as_bytes());
    hash.update(domain.as_str());
    let digest = hash.finalize();
    let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Challenge { record: format!("{CHALLENGE_LABEL}.{domain}"), value: format!("{CHALLENGE_KEY}{digits}") }
}

/// Why DNS does not prove that a domain is an app's.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// There is no such record.
    #[error("DNS has no TXT record {} that says {}", .0.record, .0.value)]
    NoRecord(Challenge),
    /// DNS cannot be asked.
    #[error("cannot ask DNS for {record}")]
    Lookup {
        /// The name of the record.
        record: String,
        /// Why.
        source: TxtLookupError,
    },
}

/// Finds out whether domains are apps'.
#[derive(Clone, Debug)]
pub struct DomainProver {
    lookup: TxtLookup,
    /// Whether a proof is needed; otherwise a domain is whose app names it first.
    required: bool,
}

impl DomainProver {
    /// One that asks `lookup`, where a proof is `required`.
    pub fn new(lookup: TxtLookup, required: bool) -> Self {
        Self { lookup, required }
    }

    /// Whether a domain has to be proven.
    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// Asks DNS whether a domain is the app's.
    ///
    /// # Errors
    /// It does not say so, or cannot be asked.
    pub async fn prove(&self, app: AppId, domain: &DomainName) -> Result<(), ProofError> {
        let challenge = challenge(app, domain);
        match self.lookup.texts(&challenge.record).await {
            Ok(texts) if texts.iter().any(|text| text.trim_ascii() == challenge.value.as_bytes()) => Ok(()),
            Ok(_) => Err(ProofError::NoRecord(challenge)),
            Err(source) => Err(ProofError::Lookup { record: challenge.record, source }),
        }
    }

    /// Those of `domains` that are the app's, as far as that can be found out while a push waits.
    pub(crate) async fn proven(
        &self,
        app: AppId,
        domains: Vec<DomainName>,
    ) -> Vec<(DomainName, DomainProof)> {
        if !self.required {
            return domains.into_iter().map(|domain| (domain, DomainProof::Trusted)).collect();
        }
        let mut asking = JoinSet::new();
        for domain in domains {
            let this = self.clone();
            asking.spawn(async move { this.prove(app, &domain).await.map(|()| domain) });
        }
        let mut proven = Vec::new();
        let all = async {
            while let Some(asked) = asking.join_next().await {
                match asked {
                    Ok(Ok(domain)) => proven.push((domain, DomainProof::Dns)),
                    Ok(Err(error)) => tracing::debug!(%error, "a domain is not proven"),
                    Err(error) => tracing::error!(%error, "asking for the proof of a domain ended early"),
                }
            }
        };
        // What is not known by then is pending.
        let _ = timeout(PUSH_LOOKUP_MAX, all).await;
        proven
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn own_names_are_the_domain_with_all_below_it_and_the_others_alone() {
        let own = OwnNames::new(Some("Example.com"), ["Pi.local.".to_owned()]);
        for name in ["example.com", "a.EXAMPLE.com", "a.b.example.com", "pi.local", "PI.local"] {
            assert!(own.contains(name), "{name}");
        }
        for name in ["com", "notexample.com", "example.com.org", "a.pi.local", "local", "", "ü.com"] {
            assert!(!own.contains(name), "{name}");
        }
        assert!(!OwnNames::default().contains("pi.local"));
    }

    #[test]
    fn challenge_is_of_one_app_and_one_domain() {
        let [one, other] = [1, 2].map(|id| AppId::from_uuid(Uuid::from_u128(id)));
        let [a, b] = ["a.example", "b.example"].map(|name| DomainName::new(name).unwrap());
        let mine = challenge(one, &a);
        assert_eq!(mine.record, "_picloud-challenge.a.example");
        assert_eq!(mine, challenge(one, &a));
        assert_ne!(mine.value, challenge(other, &a).value);
        assert_ne!(mine.value, challenge(one, &b).value);
    }
}
