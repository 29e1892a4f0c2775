//! For which names of previews a proxy can have certificates made.
//!
//! Who makes certificates makes so many a week for a domain, and a token that can only push previews could use up all of them. Production and
//! domains of apps' own come first: they are not counted. A name that was granted stays so, since its certificate is renewed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use store::{AppId, CertificateLimits, Store, StoreError};

pub use store::CertificateGrant;

/// Over which span names are counted: that over which Let's Encrypt counts the certificates of a domain.
const SPAN: TimeDelta = TimeDelta::days(7);

/// How many granted names are remembered, so that the database is not asked again.
const REMEMBERED_MAX: usize = 10_000;

/// For how long it is taken for granted that there is no more to be had.
const FULL_FOR: Duration = Duration::from_secs(60);

/// Which part of what all previews can have one app can have.
const PARTS_OF_APP: u32 = 2;
const PARTS: u32 = 5;

/// A preview that is refused a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCertificate {
    /// The last name that was.
    pub name: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: CertificateGrant,
}

/// Grants names of previews certificates. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PreviewCertificates {
    store: Store,
    limits: CertificateLimits,
    granted: Arc<Mutex<HashSet<String>>>,
    refused: Arc<Mutex<Refused>>,
}

/// What was refused lately.
#[derive(Debug, Default)]
struct Refused {
    last: Option<RefusedCertificate>,
    /// Of which apps everything new is refused, `None` standing for all of them, and since when: anybody can ask, and the database is not
    /// asked each time.
    full: HashMap<Option<AppId>, (Instant, CertificateGrant)>,
}

impl PreviewCertificates {
    /// Grants so many new names a week, and two fifths of them to one app.
    pub fn new(store: Store, names_per_week: u32) -> Self {
        let of_app = (names_per_week * PARTS_OF_APP).div_ceil(PARTS);
        let limits = CertificateLimits { all: names_per_week, of_app };
        Self { store, limits, granted: Arc::default(), refused: Arc::default() }
    }

    /// Whether the name of a preview, in lower case, can have a certificate.
    ///
    /// # Errors
    /// The store failed.
    pub async fn grant(&self, app: AppId, name: &str) -> Result<CertificateGrant, StoreError> {
        if self.granted().contains(name) {
            return Ok(CertificateGrant::Granted);
        }
        if let Some(grant) = self.known_full(app) {
            return Ok(grant);
        }
        let now = Utc::now();
        let grant = self.store.grant_certificate(app, name, self.limits, now - SPAN, now).await?;
        if grant == CertificateGrant::Granted {
            let mut granted = self.granted();
            if granted.len() < REMEMBERED_MAX {
                granted.insert(name.to_owned());
            }
            return Ok(grant);
        }
        tracing::warn!(
            name,
            "no certificate for a preview: its app, or all apps, had too many new ones this week"
        );
        let mut refused = self.refused();
        refused.last = Some(RefusedCertificate { name: name.to_owned(), at: now, reason: grant });
        let of = matches!(grant, CertificateGrant::TooManyOfApp(_)).then_some(app);
        refused.full.insert(of, (Instant::now(), grant));
        Ok(grant)
    }

    /// Why a new name of the app was refused just now, if one was.
    fn known_full(&self, app: AppId) -> Option<CertificateGrant> {
        let mut refused = self.refused();
        refused.full.retain(|_, (since, _)| since.elapsed() < FULL_FOR);
        let full = refused.full.get(&None).or_else(|| refused.full.get(&Some(app)));
        full.map(|(_, grant)| *grant)
    }

    /// The last refusal by this node, if it was within the span.
    pub(crate) fn last_refused(&self, now: DateTime<Utc>) -> Option<RefusedCertificate> {
        self.refused().last.clone().filter(|refused| now - refused.at < SPAN)
    }

    /// Nothing panics while these locks are held.
    fn granted(&self) -> MutexGuard<'_, HashSet<String>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
