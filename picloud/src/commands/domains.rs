//! `picloud domains`: list, verify, approve and release.

use super::error::CommandError;
use super::output::show;
use crate::cli::{DomainOption, DomainsVerb};
use crate::client::Client;
use crate::rest::{Domain, DomainState, Domains};
use crate::words::domains::steps;
use crate::words::table::table;
use crate::words::when::when;

pub(crate) fn domains(verb: &DomainsVerb) -> Result<(), CommandError> {
    match verb {
        DomainsVerb::List { app, client } => {
            let asked = Client::find(client)?;
            let app = asked.app(app)?;
            let domains: Domains = asked.get(&format!("apps/{}/domains", app.as_str()))?;
            show(&domains, client.json, |domains| words(&domains.domains))
        }
        DomainsVerb::Verify(option) => proven(option, "verify"),
        DomainsVerb::Approve(option) => proven(option, "approve"),
        DomainsVerb::Release(option) => {
            let (client, path) = place(option)?;
            let domains: Domains = client.post(&format!("{path}/release"))?;
            show(&domains, option.client.json, |_| {
                format!("{} is released; another app can have it.\n", option.domain)
            })
        }
    }
}

fn place(option: &DomainOption) -> Result<(Client, String), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    Ok((client, format!("apps/{}/domains/{}", app.as_str(), option.domain)))
}

fn proven(option: &DomainOption, verb: &str) -> Result<(), CommandError> {
    let (client, path) = place(option)?;
    let domain: Domain = client.post(&format!("{path}/{verb}"))?;
    show(&domain, option.client.json, |domain| match domain.state {
        DomainState::Live => format!("The app answers at {}.\n", domain.name),
        DomainState::Held => format!("{} is the app's; what is live does not name it.\n", domain.name),
        // It was released meanwhile.
        DomainState::Pending => format!("{} is pending.\n", domain.name),
    })
}

fn words(domains: &[Domain]) -> String {
    if domains.is_empty() {
        return "The app has no domains of its own.\n".to_owned();
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
    let mut text = table(&["DOMAIN", "STATE", "PROOF", "PROVEN", "BY"], &rows);
    for domain in domains.iter().filter(|domain| domain.state == DomainState::Pending) {
        text += &format!("\n{}\n", steps(&domain.name, &domain.record.name, &domain.record.value));
    }
    text
}
