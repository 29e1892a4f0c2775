//! Certificate grants for previews: rate limited for new names, unlimited for known ones.

use chrono::TimeDelta;
use store::{AppId, CertificateGrant, CertificateLimits, Location, Store};

use crate::fixtures::*;

on_both_databases!(new_names_are_bounded_by_app_and_in_sum, names_are_granted_one_after_the_other);

const LIMITS: CertificateLimits = CertificateLimits { all: 3, of_app: 2 };

async fn new_names_are_bounded_by_app_and_in_sum(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let [one, two] = [AppId::random(), AppId::random()];
    let week = TimeDelta::days(7);
    let at =
        async |app, name, now| store.grant_certificate(app, name, LIMITS, now - week, now).await.unwrap();
    let granted = CertificateGrant::Granted;
    assert_eq!(at(one, "a", noon()).await, granted);
    assert_eq!(at(one, "b", noon()).await, granted);
    assert_eq!(at(one, "c", noon()).await, CertificateGrant::TooManyOfApp(2));
    assert_eq!(at(two, "d", noon()).await, granted);
    assert_eq!(at(two, "e", noon()).await, CertificateGrant::TooMany(3));
    // Known names are renewed; new ones are granted after a week.
    assert_eq!(at(one, "a", noon()).await, granted);
    let later = noon() + week + TimeDelta::seconds(1);
    assert_eq!((at(one, "a", later).await, at(two, "e", later).await), (granted, granted));
}

async fn names_are_granted_one_after_the_other(location: Location) {
    let store = Store::open(&location).await.unwrap();
    let app = AppId::random();
    let names: Vec<String> = (0..8).map(|number| number.to_string()).collect();
    let since = noon() - TimeDelta::days(7);
    let asked = names.iter().map(|name| store.grant_certificate(app, name, LIMITS, since, noon()));
    let mut granted = 0;
    for answer in futures(asked.collect()).await {
        granted += usize::from(answer == CertificateGrant::Granted);
    }
    assert_eq!(granted, 2);
}

/// Concurrent grants.
async fn futures<F: Future<Output = Result<CertificateGrant, store::StoreError>>>(
    all: Vec<F>,
) -> Vec<CertificateGrant> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                done.push(answer.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}
