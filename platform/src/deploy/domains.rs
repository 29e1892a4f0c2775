//! Domains of an app's own outside of pushes: what it has, and what is proven and released by hand.

use manifest_schema::name::DomainName;
use store::{Actor, App, DomainProof, StoreError};

pub use store::{Domain, HoldDomainError};

use super::Deployer;
use crate::domains::{Challenge, DomainProver, OwnNames, ProofError, challenge};

/// Which domains apps can have.
#[derive(Clone, Debug)]
pub struct DomainPolicy {
    /// The names of the control plane, which no app has.
    pub own_names: OwnNames,
    /// Finds out whether a domain is an app's.
    pub prover: DomainProver,
}

/// A domain that a push claims, and that has still to be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDomain {
    /// The domain.
    pub name: DomainName,
    /// What proves it.
    pub challenge: Challenge,
}

/// Why it is not noted that a domain is an app's. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ProveDomainError {
    /// It is the server's.
    #[error("{0} is a name of this server, and no app has it")]
    OwnName(DomainName),
    /// DNS does not say so.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The app does not claim it, or another one holds it.
    #[error(transparent)]
    Hold(#[from] HoldDomainError),
}

impl From<StoreError> for ProveDomainError {
    fn from(error: StoreError) -> Self {
        Self::Hold(error.into())
    }
}

impl Deployer {
    /// The domains that an app claims or holds, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn domains(&self, app: &App) -> Result<Vec<Domain>, StoreError> {
        self.store.domains(app.id).await
    }

    /// Has an app answer at a domain that it claims, once DNS says that it is the app's.
    ///
    /// # Errors
    /// DNS does not say so, or the app cannot have the domain. Nothing was changed.
    pub async fn verify_domain(
        &self,
        app: &App,
        domain: &DomainName,
        by: &Actor,
    ) -> Result<(), ProveDomainError> {
        // DNS is asked for those only that it can have.
        let claimed = self.store.domains(app.id).await?.into_iter().find(|found| found.name == *domain);
        match claimed {
            Some(Domain { proof: Some(_), .. }) => return Ok(()),
            Some(_) => {}
            None => return Err(HoldDomainError::NotClaimed.into()),
        }
        self.domains.prover.prove(app.id, domain).await?;
        self.hold_domain(app, domain, DomainProof::Dns, by).await
    }

    /// Has an app answer at a domain that it claims, by the word of an admin.
    ///
    /// # Errors
    /// The app cannot have the domain. Nothing was changed.
    pub async fn approve_domain(
        &self,
        app: &App,
        domain: &DomainName,
        by: &Actor,
    ) -> Result<(), ProveDomainError> {
        self.hold_domain(app, domain, DomainProof::Admin, by).await
    }

    async fn hold_domain(
        &self,
        app: &App,
        domain: &DomainName,
        proof: DomainProof,
        by: &Actor,
    ) -> Result<(), ProveDomainError> {
        if self.domains.own_names.contains(domain.as_str()) {
            return Err(ProveDomainError::OwnName(domain.clone()));
        }
        let act = self.begin_act(&app.name);
        let changed = self.store.hold_domain(app, domain, proof, self.node(), by).await?;
        self.serve_changed(&changed, act).await;
        self.wait_for_peers(&changed).await;
        Ok(())
    }

    /// Has an app answer at a domain no longer, so that another one can have it. `false`: it did not hold it.
    ///
    /// # Errors
    /// The app is not there any more, or the store failed. Nothing was changed.
    pub async fn release_domain(
        &self,
        app: &App,
        domain: &DomainName,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        let act = self.begin_act(&app.name);
        let Some(changed) = self.store.release_domain(app, domain, self.node(), by).await? else {
            return Ok(false);
        };
        self.serve_changed(&changed, act).await;
        self.wait_for_peers(&changed).await;
        Ok(true)
    }

    /// Those of a push that are still to be proven.
    pub(super) fn pending(app: &App, domains: &[DomainName]) -> Vec<PendingDomain> {
        let pending =
            |name: &DomainName| PendingDomain { name: name.clone(), challenge: challenge(app.id, name) };
        domains.iter().map(pending).collect()
    }
}
