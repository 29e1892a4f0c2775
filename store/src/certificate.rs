//! Certificate grants for the host names of previews, rate limited over all nodes.

use chrono::{DateTime, Utc};

use crate::error::StoreError;
use crate::id::AppId;
use crate::{Store, dispatch};

/// How many new names are granted a certificate within a time window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateLimits {
    /// For all apps.
    pub all: u32,
    /// For one app.
    pub of_app: u32,
}

/// The decision for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateGrant {
    /// The name may get a certificate.
    Granted,
    /// The limit of the app is reached, which is this.
    TooManyOfApp(u32),
    /// The limit of all apps is reached, which is this.
    TooMany(u32),
}

impl Store {
    /// Grants a certificate to a preview host name that has a grant, or if fewer than `limits` were granted after
    /// `since`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn grant_certificate(
        &self,
        app: AppId,
        name: &str,
        limits: CertificateLimits,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<CertificateGrant, StoreError> {
        dispatch!(self, certificates::grant_certificate(app, name, limits, since, now))
    }
}
