//! Domains that are still to be proven.

/// What is to be done so that an app answers at a domain.
pub(crate) fn steps(domain: &str, record: &str, value: &str) -> String {
    format!(
        "domain pending: {domain} is not served until it is proven to be the app's. Set this record in its DNS, then run  picloud domains verify \
         {domain}\n    {record}  TXT  \"{value}\"\nor have an admin run  picloud domains approve {domain}"
    )
}
