//! The names of previews for which a proxy can have certificates: so many new ones in a span of time, over all nodes.

use chrono::{DateTime, Utc};

use crate::error::StoreError;
use crate::id::AppId;
use crate::{Store, either};

/// How many names of previews can be granted a certificate within a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateLimits {
    /// Of all apps.
    pub all: u32,
    /// Of one app.
    pub of_app: u32,
}

/// Whether a name can have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateGrant {
    /// It can, from now on or since long.
    Granted,
    /// So many of its app were granted within the span.
    TooManyOfApp(u32),
    /// So many of all apps were.
    TooMany(u32),
}

impl Store {
    /// Grants a name of a preview a certificate, if that was granted before or if fewer than `limits` were granted since `since`.
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
        either!(self, certificates::grant_certificate(app, name, limits, since, now))
    }
}
