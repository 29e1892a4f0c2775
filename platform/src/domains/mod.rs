//! Custom domains: the names reserved for the server, and the verification that a domain belongs to an app.
//!
//! The owner of a domain sets a TXT record that names the app ([`challenge`]), which [`txt_lookup`] queries.
//! Otherwise an admin can approve the domain. The store keeps the result, so that nothing depends on DNS
//! afterwards.

pub mod txt_lookup;

use std::collections::BTreeSet;
use std::time::Duration;

use manifest_schema::name::DomainName;
use sha2::{Digest as _, Sha256};
use store::{AppId, DomainProof};
use tokio::task::JoinSet;
use tokio::time::timeout;

use txt_lookup::{TxtLookup, TxtLookupError};

/// The label of the challenge record, prepended to the domain.
const CHALLENGE_LABEL: &str = "_picloud-challenge";

/// The prefix of the record's value.
const CHALLENGE_KEY: &str = "picloud-domain=";

/// How long a push waits for DNS.
const PUSH_LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// The names of the control plane, in lower case. Apps cannot use them as domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// The base domain of apps: it and all names below it are reserved.
    domain: Option<String>,
    /// Further names, without their subdomains.
    names: BTreeSet<String>,
}

impl ServerNames {
    /// Creates the reserved names: the base domain with its subdomains, and further names.
    pub fn new(domain: Option<&str>, names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self { domain: domain.map(str::to_ascii_lowercase), names: names.collect() }
    }

    /// The base domain of apps.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Whether `name` is reserved, ignoring case.
    pub fn contains(&self, name: &str) -> bool {
        let is_base_or_below = |domain: &str| {
            let Some(prefix) = name.len().checked_sub(domain.len()) else { return false };
            name.is_char_boundary(prefix)
                && name[prefix..].eq_ignore_ascii_case(domain)
                && (prefix == 0 || name[..prefix].ends_with('.'))
        };
        self.domain.as_deref().is_some_and(is_base_or_below)
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The DNS record that verifies a domain for an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The name of the record.
    pub record: String,
    /// Its value.
    pub value: String,
}

/// The record that verifies `domain` for the app. It is not secret: only the owner of the domain's DNS can
/// set it.
pub fn challenge(app: AppId, domain: &DomainName) -> Challenge {
    let mut hash = Sha256::new();
    hash.update(b"picloud domain\0");
    hash.update(app.as_uuid().as_bytes());
    hash.update(domain.as_str());
    let digest = hash.finalize();
    let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Challenge { record: format!("{CHALLENGE_LABEL}.{domain}"), value: format!("{CHALLENGE_KEY}{digits}") }
}

/// Why a domain was not verified by DNS.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The record does not exist or has another value.
    #[error("DNS has no TXT record {} with the value {}", .0.record, .0.value)]
    NoRecord(Challenge),
    /// The DNS query failed.
    #[error("cannot query DNS for {record}")]
    Lookup {
        /// The name of the record.
        record: String,
        /// Why.
        source: TxtLookupError,
    },
}

/// Verifies domains for apps.
#[derive(Clone, Debug)]
pub struct DomainVerifier {
    lookup: TxtLookup,
    /// Whether verification is required; otherwise the first app that names a domain gets it.
    required: bool,
}

impl DomainVerifier {
    /// Creates a verifier that queries `lookup` if verification is `required`.
    pub fn new(lookup: TxtLookup, required: bool) -> Self {
        Self { lookup, required }
    }

    /// Whether verification is required.
    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// Verifies a domain for the app by DNS.
    ///
    /// # Errors
    /// The record is missing, or the query failed.
    pub async fn verify(&self, app: AppId, domain: &DomainName) -> Result<(), VerificationError> {
        let challenge = challenge(app, domain);
        match self.lookup.texts(&challenge.record).await {
            Ok(texts) if texts.iter().any(|text| text.trim_ascii() == challenge.value.as_bytes()) => Ok(()),
            Ok(_) => Err(VerificationError::NoRecord(challenge)),
            Err(source) => Err(VerificationError::Lookup { record: challenge.record, source }),
        }
    }

    /// The verified ones of `domains`, as far as DNS responds while a push waits.
    pub(crate) async fn verified(
        &self,
        app: AppId,
        domains: Vec<DomainName>,
    ) -> Vec<(DomainName, DomainProof)> {
        if !self.required {
            return domains.into_iter().map(|domain| (domain, DomainProof::Trusted)).collect();
        }
        let mut queries = JoinSet::new();
        for domain in domains {
            let this = self.clone();
            queries.spawn(async move { this.verify(app, &domain).await.map(|()| domain) });
        }
        let mut verified = Vec::new();
        let all = async {
            while let Some(result) = queries.join_next().await {
                match result {
                    Ok(Ok(domain)) => verified.push((domain, DomainProof::Dns)),
                    Ok(Err(error)) => tracing::debug!(%error, "domain not verified"),
                    Err(error) => tracing::error!(%error, "task that verifies a domain panicked"),
                }
            }
        };
        // Domains without a result by then stay pending.
        let _ = timeout(PUSH_LOOKUP_TIMEOUT, all).await;
        verified
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn server_names_include_subdomains_of_base_domain_only() {
        let own = ServerNames::new(Some("Example.com"), ["Pi.local.".to_owned()]);
        for name in ["example.com", "a.EXAMPLE.com", "a.b.example.com", "pi.local", "PI.local"] {
            assert!(own.contains(name), "{name}");
        }
        for name in ["com", "notexample.com", "example.com.org", "a.pi.local", "local", "", "ü.com"] {
            assert!(!own.contains(name), "{name}");
        }
        assert!(!ServerNames::default().contains("pi.local"));
    }

    #[test]
    fn challenge_depends_on_app_and_domain() {
        let [one, other] = [1, 2].map(|id| AppId::from_uuid(Uuid::from_u128(id)));
        let [a, b] = ["a.example", "b.example"].map(|name| DomainName::new(name).unwrap());
        let mine = challenge(one, &a);
        assert_eq!(mine.record, "_picloud-challenge.a.example");
        assert_eq!(mine, challenge(one, &a));
        assert_ne!(mine.value, challenge(other, &a).value);
        assert_ne!(mine.value, challenge(one, &b).value);
    }
}
