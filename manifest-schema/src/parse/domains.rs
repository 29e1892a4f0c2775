//! `domains` of `[app]`.

use std::collections::BTreeSet;

use super::document;
use crate::diagnostic::Span;
use crate::manifest::DOMAINS_MAX;
use crate::name::DomainName;
use crate::source::Source;
use crate::table::Table;

/// The valid domains.
pub(super) fn read(app: &Table<'_>, source: &mut Source<'_>) -> Vec<DomainName> {
    let Some(value) = app.get("domains") else { return Vec::new() };
    let Some(items) = value.array(source) else { return Vec::new() };
    if items.len() > DOMAINS_MAX {
        let message = format!("`domains` has {} entries, more than {DOMAINS_MAX}", items.len());
        source.error(value.span(), message);
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut domains = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = item.string(source) else { continue };
        match DomainName::new(text.value) {
            Ok(domain) if seen.insert(domain.clone()) => domains.push(domain),
            Ok(domain) => source.error(text.span, format!("duplicate domain `{domain}`")),
            Err(error) => {
                let help = suggest_domain(text.value).map(|domain| format!("write `{domain}`"));
                source.error_with(text.span, error.to_string(), help);
            }
        }
    }
    domains
}

/// The domain in a URL, or in lower case.
fn suggest_domain(text: &str) -> Option<DomainName> {
    let text = text.trim().to_ascii_lowercase();
    let host = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    DomainName::new(host.split(['/', ':']).next().unwrap_or_default().trim_end_matches('.')).ok()
}

/// The span of a domain in a manifest, for errors that only a server finds, such as a domain of another app.
pub fn domain_span(manifest: &[u8], domain: &DomainName) -> Option<Span> {
    let text = document::text(manifest).ok()?;
    let root = document::parse(&mut Source::new(text))?;
    let domains = root.get_ref().get("app")?.get_ref().as_table()?.get("domains")?.get_ref().as_array()?;
    let item = domains.iter().find(|item| item.get_ref().as_str() == Some(domain.as_str()))?;
    Some(Span::from_range(text, item.span()))
}
