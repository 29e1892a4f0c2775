//! Custom domains of apps.

use std::fmt;

use super::NameError;

const DOMAIN_RULE: &str = "must be a full host name in lower case, such as `hello.example.com`";

/// Maximum length of a domain name in presentation format (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;

/// Maximum length of a label.
const LABEL_MAX: usize = 63;

/// A custom domain of an app, such as `hello.example.com`: lower case, at least two labels, not an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl DomainName {
    /// Validates a domain name.
    ///
    /// # Errors The name breaks the rule.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let mut labels = name.rsplit('.');
        // An IPv4 address ends in a number; `localhost` is reserved (RFC 6761 section 6.3).
        let top = labels.next().is_some_and(|top| is_label(top) && !is_number(top) && top != "localhost");
        let mut below = labels.peekable();
        let several = below.peek().is_some();
        if top && several && below.all(is_label) && name.len() <= NAME_MAX {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::new("domain", name, DOMAIN_RULE))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `domain` or a subdomain of it.
    pub fn is_within(&self, domain: &str) -> bool {
        let Some(front) = self.0.len().checked_sub(domain.len()) else { return false };
        let below = front == 0 || self.0.as_bytes()[front - 1] == b'.';
        below && self.0.as_bytes()[front..].eq_ignore_ascii_case(domain.as_bytes())
    }
}

fn is_label(label: &str) -> bool {
    let letters =
        label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    letters && (1..=LABEL_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names_are_full_host_names() {
        for good in ["a.b", "hello.example.com", "xn--bcher-kva.example", "1.example.com", "a-b.c1"] {
            assert!(DomainName::new(good).is_ok(), "{good}");
        }
        let long = format!("{}.com", "a.".repeat(125));
        let label = format!("{}.com", "a".repeat(64));
        for bad in [
            "",
            "a",
            "a.",
            ".a",
            "a..b",
            "A.b",
            "*.a.b",
            "-a.b",
            "a-.b",
            "a.b/c",
            "a.b:80",
            "ü.b",
            "a_b.c",
            "10.0.0.1",
            "pi.localhost",
            &long,
            &label,
        ] {
            assert!(DomainName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domain_contains_itself_and_subdomains() {
        let name = DomainName::new("a.example.com").unwrap();
        for (domain, within) in
            [("a.example.com", true), ("Example.com", true), ("com", true), ("ample.com", false)]
        {
            assert_eq!(name.is_within(domain), within, "{domain}");
        }
        assert!(!name.is_within("b.a.example.com"));
    }
}
