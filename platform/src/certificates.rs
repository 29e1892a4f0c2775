//! Which preview host names a proxy can request certificates for.
//!
//! A certificate authority issues a limited number of certificates per week and domain, and a token that can
//! only push previews could use them up. Production hosts and custom domains come first: they are not
//! counted. A granted name stays granted, since its certificate is renewed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use store::{AppId, CertificateLimits, Store, StoreError};

pub use store::CertificateGrant;

/// The window in which names are counted, as in Let's Encrypt's rate limits.
const WINDOW: TimeDelta = TimeDelta::days(7);

/// How many granted names are cached.
const CACHED_NAMES_MAX: usize = 10_000;

/// How long a rejection is cached.
const REJECTION_TTL: Duration = Duration::from_secs(60);

/// The share of the weekly limit for one app: two fifths.
const APP_SHARE_NUMERATOR: u32 = 2;
const APP_SHARE_DENOMINATOR: u32 = 5;

/// A preview that was rejected a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedCertificate {
    /// The host name.
    pub name: String,
    /// When it was rejected.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: CertificateGrant,
}

/// Grants certificates to preview host names. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PreviewCertificates {
    store: Store,
    limits: CertificateLimits,
    granted: Arc<Mutex<HashSet<String>>>,
    rejected: Arc<Mutex<Rejections>>,
}

/// Recent rejections.
#[derive(Debug, Default)]
struct Rejections {
    last: Option<RejectedCertificate>,
    /// The apps whose new names are rejected, `None` for all apps, and since when. Cached because anyone can
    /// send such requests.
    exhausted: HashMap<Option<AppId>, (Instant, CertificateGrant)>,
}

impl PreviewCertificates {
    /// Grants `names_per_week` new names, and two fifths of them to one app.
    pub fn new(store: Store, names_per_week: u32) -> Self {
        let of_app = (names_per_week * APP_SHARE_NUMERATOR).div_ceil(APP_SHARE_DENOMINATOR);
        let limits = CertificateLimits { all: names_per_week, of_app };
        Self { store, limits, granted: Arc::default(), rejected: Arc::default() }
    }

    /// Whether a preview host name, in lower case, can have a certificate.
    ///
    /// # Errors
    /// The store failed.
    pub async fn grant(&self, app: AppId, name: &str) -> Result<CertificateGrant, StoreError> {
        if self.granted().contains(name) {
            return Ok(CertificateGrant::Granted);
        }
        if let Some(grant) = self.cached_rejection(app) {
            return Ok(grant);
        }
        let now = Utc::now();
        let grant = self.store.grant_certificate(app, name, self.limits, now - WINDOW, now).await?;
        if grant == CertificateGrant::Granted {
            let mut granted = self.granted();
            if granted.len() < CACHED_NAMES_MAX {
                granted.insert(name.to_owned());
            }
            return Ok(grant);
        }
        tracing::warn!(name, "certificate for a preview rejected: too many new names this week");
        let mut rejected = self.rejected();
        rejected.last = Some(RejectedCertificate { name: name.to_owned(), at: now, reason: grant });
        let of = matches!(grant, CertificateGrant::TooManyOfApp(_)).then_some(app);
        rejected.exhausted.insert(of, (Instant::now(), grant));
        Ok(grant)
    }

    /// The cached rejection for new names of the app.
    fn cached_rejection(&self, app: AppId) -> Option<CertificateGrant> {
        let mut rejected = self.rejected();
        rejected.exhausted.retain(|_, (since, _)| since.elapsed() < REJECTION_TTL);
        let exhausted = rejected.exhausted.get(&None).or_else(|| rejected.exhausted.get(&Some(app)));
        exhausted.map(|(_, grant)| *grant)
    }

    /// The last rejection by this node within the window.
    pub(crate) fn last_rejected(&self, now: DateTime<Utc>) -> Option<RejectedCertificate> {
        self.rejected().last.clone().filter(|rejected| now - rejected.at < WINDOW)
    }

    /// No code panics while holding these locks.
    fn granted(&self) -> MutexGuard<'_, HashSet<String>> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rejected(&self) -> MutexGuard<'_, Rejections> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
