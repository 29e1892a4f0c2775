//! An app's secrets, which scripts read as `ctx.secrets`, and their redaction in texts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The minimum length of a secret that is searched for in output and pushed files, in bytes. Shorter values occur in
/// too many words.
pub const SECRET_MIN_BYTES: usize = 4;

/// Secret values by name. `Debug` never prints the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    /// Every encoding of a value that can occur in a text, with its name; longest first.
    needles: Vec<(String, String)>,
}

impl Secrets {
    /// Creates the set with these values.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        let mut needles = Vec::new();
        for (name, value) in values.iter().filter(|(_, value)| value.len() >= SECRET_MIN_BYTES) {
            let in_json = serde_json::Value::from(value.as_str()).to_string();
            let in_json = in_json[1..in_json.len() - 1].to_owned();
            if in_json != *value {
                needles.push((in_json, name.clone()));
            }
            needles.push((value.clone(), name.clone()));
        }
        // A value that contains another one comes first, so that it is replaced as a whole.
        needles.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        Self { values, needles }
    }

    /// Whether there are no secrets.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the named secret.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Every encoding of a value that can occur in a text, with the name of its secret.
    pub fn needles(&self) -> impl Iterator<Item = (&str, &str)> {
        self.needles.iter().map(|(needle, name)| (needle.as_str(), name.as_str()))
    }

    /// The secrets with the given names.
    pub fn subset<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let found = names.into_iter().filter_map(|name| self.values.get_key_value(name));
        Self::new(found.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Replaces secret values in `text` by the names of the secrets. Everything a script outputs passes through here
    /// before it is stored or sent.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for (needle, name) in &self.needles {
            if text.contains(needle.as_str()) {
                text = Cow::Owned(text.replace(needle.as_str(), &format!("[secret {name}]")));
            }
        }
        text
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        Secrets::new(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn values_are_replaced_by_their_names() {
        let secrets =
            secrets(&[("A", "tangerine"), ("B", "tangerine-dream"), ("C", "say \"hi\"\n"), ("D", "abc")]);
        let redacted = |text| secrets.redact(text).into_owned();
        assert_eq!(redacted("tangerine, tangerine-dream"), "[secret A], [secret B]");
        assert_eq!(redacted(r#"{"x":"say \"hi\"\n"}"#), r#"{"x":"[secret C]"}"#);
        assert_eq!(redacted("abc is too short"), "abc is too short");
        assert!(matches!(secrets.redact("nothing"), Cow::Borrowed("nothing")));
    }

    #[test]
    fn debug_shows_names_only() {
        let debug = format!("{:?}", secrets(&[("A", "tangerine")]));
        assert_eq!(debug, r#"{"A"}"#);
    }
}
