//! The table of domains, and instructions for pending ones.

use super::table::table;
use super::when::when;
use crate::api_types::{Domain, DomainState};

/// How to verify a domain.
pub(crate) fn steps(domain: &str, record: &str, value: &str) -> String {
    format!(
        "domain pending: {domain} is not served until it is verified. Set this DNS record, then run  picloud domains verify {domain}\n    \
         {record}  TXT  \"{value}\"\nor have an admin run  picloud domains approve {domain}"
    )
}

/// The table of domains.
pub(crate) fn list(domains: &[Domain]) -> String {
    if domains.is_empty() {
        return "no custom domains\n".to_owned();
    }
    let row = |domain: &Domain| {
        let state = match domain.state {
            DomainState::Live => "live",
            DomainState::Pending => "pending",
            DomainState::Held => "held",
        };
        let proof = domain.proof.as_deref().unwrap_or("-").to_owned();
        let at = domain.proven_at.map_or_else(|| "-".to_owned(), when);
        let by = domain.proven_by.clone().unwrap_or_else(|| "-".to_owned());
        vec![domain.name.clone(), state.to_owned(), proof, at, by]
    };
    let rows: Vec<_> = domains.iter().map(row).collect();
    let mut text = table(&["DOMAIN", "STATE", "PROOF", "VERIFIED", "BY"], &rows);
    for domain in domains.iter().filter(|domain| domain.state == DomainState::Pending) {
        text += &format!("\n{}\n", steps(&domain.name, &domain.record.name, &domain.record.value));
    }
    text
}
