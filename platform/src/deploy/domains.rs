//! Custom domains outside of pushes: list, verify, approve and release.

use manifest_schema::name::DomainName;
use store::{Actor, App, DomainProof, StoreError};

pub use store::{Domain, HoldDomainError};

use super::Deployer;
use crate::domains::{Challenge, DomainVerifier, ServerNames, VerificationError, challenge};

/// The rules for custom domains.
#[derive(Clone, Debug)]
pub struct DomainPolicy {
    /// The names of this server, reserved for the control plane.
    pub server_names: ServerNames,
    /// Verifies the ownership of domains.
    pub verifier: DomainVerifier,
}

/// A domain that a push claims and that is not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDomain {
    /// The domain.
    pub name: DomainName,
    /// The DNS challenge.
    pub challenge: Challenge,
}

/// Why a domain was not assigned to an app. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyDomainError {
    /// It is a name of this server.
    #[error("{0} is a name of this server; apps cannot use it")]
    ServerName(DomainName),
    /// The DNS challenge failed.
    #[error(transparent)]
    Verification(#[from] VerificationError),
    /// The app does not claim it, or another app holds it.
    #[error(transparent)]
    Hold(#[from] HoldDomainError),
}

impl From<StoreError> for VerifyDomainError {
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

    /// Assigns a claimed domain to an app after verifying its DNS challenge.
    ///
    /// # Errors
    /// The challenge failed, or the app cannot have the domain. Nothing was changed.
    pub async fn verify_domain(
        &self,
        app: &App,
        domain: &DomainName,
        by: &Actor,
    ) -> Result<(), VerifyDomainError> {
        // Query DNS only for domains that the app claims.
        let claimed = self.store.domains(app.id).await?.into_iter().find(|found| found.name == *domain);
        match claimed {
            Some(Domain { proof: Some(_), .. }) => return Ok(()),
            Some(_) => {}
            None => return Err(HoldDomainError::NotClaimed.into()),
        }
        self.domains.verifier.verify(app.id, domain).await?;
        self.hold_domain(app, domain, DomainProof::Dns, by).await
    }

    /// Assigns a claimed domain to an app on the authority of an admin.
    ///
    /// # Errors
    /// The app cannot have the domain. Nothing was changed.
    pub async fn approve_domain(
        &self,
        app: &App,
        domain: &DomainName,
        by: &Actor,
    ) -> Result<(), VerifyDomainError> {
        self.hold_domain(app, domain, DomainProof::Admin, by).await
    }

    async fn hold_domain(
        &self,
        app: &App,
        domain: &DomainName,
        proof: DomainProof,
        by: &Actor,
    ) -> Result<(), VerifyDomainError> {
        if self.domains.server_names.contains(domain.as_str()) {
            return Err(VerifyDomainError::ServerName(domain.clone()));
        }
        let change = self.begin_change(&app.name);
        let changed = self.store.hold_domain(app, domain, proof, self.node(), by).await?;
        self.serve_changed(&changed, change).await;
        self.wait_for_peers(&changed).await;
        Ok(())
    }

    /// Releases a domain, so that another app can have it. `false`: the app did not hold it.
    ///
    /// # Errors
    /// The app does not exist any more, or the store failed. Nothing was changed.
    pub async fn release_domain(
        &self,
        app: &App,
        domain: &DomainName,
        by: &Actor,
    ) -> Result<bool, StoreError> {
        let change = self.begin_change(&app.name);
        let Some(changed) = self.store.release_domain(app, domain, self.node(), by).await? else {
            return Ok(false);
        };
        self.serve_changed(&changed, change).await;
        self.wait_for_peers(&changed).await;
        Ok(true)
    }

    /// The domains of a push that are not verified yet.
    pub(super) fn pending(app: &App, domains: &[DomainName]) -> Vec<PendingDomain> {
        let pending =
            |name: &DomainName| PendingDomain { name: name.clone(), challenge: challenge(app.id, name) };
        domains.iter().map(pending).collect()
    }
}
