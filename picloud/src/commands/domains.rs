//! `picloud domains`: list, verify, approve and release.

use super::error::CommandError;
use super::output::show;
use crate::api_types::{Domain, DomainState, Domains};
use crate::cli::{DomainArgs, DomainsCommand};
use crate::client::Client;
use crate::render::domains;

pub(crate) fn domains(command: &DomainsCommand) -> Result<(), CommandError> {
    match command {
        DomainsCommand::List { app, client } => {
            let server = Client::find(client)?;
            let app = server.app(app)?;
            let domains: Domains = server.get(&format!("apps/{}/domains", app.as_str()))?;
            show(&domains, client.json, |list| domains::list(&list.domains))
        }
        DomainsCommand::Verify(option) => claim(option, "verify"),
        DomainsCommand::Approve(option) => claim(option, "approve"),
        DomainsCommand::Release(option) => {
            let (client, path) = domain_path(option)?;
            let domains: Domains = client.post(&format!("{path}/release"))?;
            show(&domains, option.client.json, |_| {
                format!("released {}; another app can use it\n", option.domain)
            })
        }
    }
}

fn domain_path(option: &DomainArgs) -> Result<(Client, String), CommandError> {
    let client = Client::find(&option.client)?;
    let app = client.app(&option.app)?;
    Ok((client, format!("apps/{}/domains/{}", app.as_str(), option.domain)))
}

fn claim(option: &DomainArgs, action: &str) -> Result<(), CommandError> {
    let (client, path) = domain_path(option)?;
    let domain: Domain = client.post(&format!("{path}/{action}"))?;
    show(&domain, option.client.json, |domain| match domain.state {
        DomainState::Live => format!("{} is live\n", domain.name),
        DomainState::Held => format!("{} is verified, but the live manifest does not name it\n", domain.name),
        // Another request has released the domain.
        DomainState::Pending => format!("{} is pending\n", domain.name),
    })
}
