//! The secrets of an app: what its scripts read as `ctx.secrets`, and what nothing else may show.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The shortest secret that is looked for in what is shown and in what is pushed, in bytes. Shorter ones are parts of too
/// many words.
pub const SECRET_MIN: usize = 4;

/// The values of secrets, by their names. Never printed by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    /// Each way in which a value can stand in a text, with its name; the longest first.
    needles: Vec<(String, String)>,
}

impl Secrets {
    /// Secrets with these values.
    pub fn new(values: BTreeMap<String, String>) -> Self {
        let mut needles = Vec::new();
        for (name, value) in values.iter().filter(|(_, value)| value.len() >= SECRET_MIN) {
            let in_json = serde_json::Value::from(value.as_str()).to_string();
            let in_json = in_json[1..in_json.len() - 1].to_owned();
            if in_json != *value {
                needles.push((in_json, name.clone()));
            }
            needles.push((value.clone(), name.clone()));
        }
        // A value that holds another one goes first, so that nothing of it is left.
        needles.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        Self { values, needles }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the secret of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The ways in which a value can stand in a text, each with the secret's name.
    pub fn needles(&self) -> impl Iterator<Item = (&str, &str)> {
        self.needles.iter().map(|(needle, name)| (needle.as_str(), name.as_str()))
    }

    /// Those of them that are named.
    pub fn only<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let found = names.into_iter().filter_map(|name| self.values.get_key_value(name));
        Self::new(found.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The text with the names of secrets in the places of their values: whatever is written down or sent of what a script
    /// said goes through here.
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
    fn a_value_is_replaced_by_its_name_wherever_it_stands() {
        let secrets =
            secrets(&[("A", "tangerine"), ("B", "tangerine-dream"), ("C", "say \"hi\"\n"), ("D", "abc")]);
        let redacted = |text| secrets.redact(text).into_owned();
        assert_eq!(redacted("tangerine, tangerine-dream"), "[secret A], [secret B]");
        assert_eq!(redacted(r#"{"x":"say \"hi\"\n"}"#), r#"{"x":"[secret C]"}"#);
        assert_eq!(redacted("abc is too short"), "abc is too short");
        assert!(matches!(secrets.redact("nothing"), Cow::Borrowed("nothing")));
    }

    #[test]
    fn no_value_is_shown_by_debug() {
        let shown = format!("{:?}", secrets(&[("A", "tangerine")]));
        assert_eq!(shown, r#"{"A"}"#);
    }
}
