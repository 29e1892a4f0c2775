//! `domains` of `[app]`.

use std::collections::BTreeSet;

use super::document;
use crate::diagnostic::Span;
use crate::manifest::DOMAINS_MAX;
use crate::name::DomainName;
use crate::source::Source;
use crate::table::Table;

/// The domains of an app, as far as they are such.
pub(super) fn read(app: &Table<'_>, source: &mut Source<'_>) -> Vec<DomainName> {
    let Some(value) = app.get("domains") else { return Vec::new() };
    let Some(items) = value.array(source) else { return Vec::new() };
    if items.len() > DOMAINS_MAX {
        let words = format!("`domains` has {} entries, more than {DOMAINS_MAX}", items.len());
        source.error(value.span(), words);
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut domains = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = item.string(source) else { continue };
        match DomainName::new(text.value) {
            Ok(domain) if seen.insert(domain.clone()) => domains.push(domain),
            Ok(domain) => source.error(text.span, format!("domain `{domain}` is named twice")),
            Err(error) => {
                let help = domain_meant(text.value).map(|domain| format!("write `{domain}`"));
                source.error_with(text.span, error.to_string(), help);
            }
        }
    }
    domains
}

/// The domain in a URL or in capitals.
fn domain_meant(text: &str) -> Option<DomainName> {
    let text = text.trim().to_ascii_lowercase();
    let host = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    DomainName::new(host.split(['/', ':']).next().unwrap_or_default().trim_end_matches('.')).ok()
}

/// Where a manifest names a domain: what only a server can find wrong with it, the name of another app for instance, is
/// told there.
pub fn domain_span(manifest: &[u8], domain: &DomainName) -> Option<Span> {
    let text = document::text(manifest).ok()?;
    let root = document::parse(&mut Source::new(text))?;
    let domains = root.get_ref().get("app")?.get_ref().as_table()?.get("domains")?.get_ref().as_array()?;
    let item = domains.iter().find(|item| item.get_ref().as_str() == Some(domain.as_str()))?;
    Some(Span::from_range(text, item.span()))
}
