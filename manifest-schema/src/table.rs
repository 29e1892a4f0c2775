//! Reads TOML tables key by key. What is not as it should be becomes a fault at its place, and no value.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::quoted;
use crate::source::Source;

/// A table in which every key is known.
pub(crate) struct Table<'t> {
    entries: &'t DeTable<'t>,
    /// Where the table begins: what a missing key is placed at.
    header: Range<usize>,
    /// What the table is, for people: `[[routes]]`.
    what: &'static str,
}

/// The keys that a table may have.
pub(crate) struct Keys {
    /// Those that are read.
    pub(crate) known: &'static [&'static str],
    /// Those of the contract that this server does not read yet.
    pub(crate) not_yet: &'static [&'static str],
}

impl<'t> Table<'t> {
    /// The table `what`, which begins at `header`; every key beyond `keys` is a fault.
    pub(crate) fn new(
        entries: &'t DeTable<'t>,
        header: Range<usize>,
        what: &'static str,
        keys: &Keys,
        source: &mut Source<'_>,
    ) -> Self {
        for key in entries.keys() {
            let name = key.get_ref().as_ref();
            if keys.not_yet.contains(&name) {
                source.error(key.span(), format!("`{name}` is not supported by this server yet"));
            } else if !keys.known.contains(&name) {
                let near = source.did_you_mean(name, keys.known.iter().copied());
                let advice = near.unwrap_or_else(|| format!("{what} takes {}", keys.known.join(", ")));
                source.error_with(key.span(), format!("unknown key {}", quoted(name)), Some(advice));
            }
        }
        Self { entries, header, what }
    }

    /// The value of `key`, if it is there.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'t>> {
        self.entries.get(key).map(|inner| Value { key, inner })
    }

    /// Where the key itself stands, if it is there.
    pub(crate) fn key_span(&self, key: &'static str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// The value of `key`, which must be there.
    pub(crate) fn require(&self, key: &'static str, source: &mut Source<'_>) -> Option<Value<'t>> {
        let value = self.get(key);
        if value.is_none() {
            source.error(self.header.clone(), format!("{} has no `{key}`", self.what));
        }
        value
    }

    /// The string of `key`, which must be there.
    pub(crate) fn require_string(&self, key: &'static str, source: &mut Source<'_>) -> Option<Text<'t>> {
        self.require(key, source)?.string(source)
    }
}

/// A value of a key, or an item in an array of it.
#[derive(Clone, Copy)]
pub(crate) struct Value<'t> {
    key: &'static str,
    inner: &'t Spanned<DeValue<'t>>,
}

/// A string and where it stands.
#[derive(Clone)]
pub(crate) struct Text<'t> {
    /// The string, escapes resolved.
    pub(crate) value: &'t str,
    /// Where it stands, quotation marks and all.
    pub(crate) span: Range<usize>,
}

impl<'t> Value<'t> {
    /// The key that the value is of.
    pub(crate) fn key(self) -> &'static str {
        self.key
    }

    /// Where the value stands.
    pub(crate) fn span(self) -> Range<usize> {
        self.inner.span()
    }

    /// The value as a string.
    pub(crate) fn string(self, source: &mut Source<'_>) -> Option<Text<'t>> {
        match self.inner.get_ref() {
            DeValue::String(value) => Some(Text { value, span: self.span() }),
            // What is meant is plain: a version or a name without its quotation marks.
            DeValue::Integer(_) | DeValue::Float(_) => {
                let written = source.text().get(self.span()).unwrap_or_default();
                self.refuse("a string", Some(format!("write `\"{written}\"`")), source)
            }
            _ => self.refuse("a string", None, source),
        }
    }

    /// The value as an integer; one beyond what an [`i128`] holds is its greatest.
    pub(crate) fn integer(self, source: &mut Source<'_>) -> Option<i128> {
        match self.as_integer() {
            None => self.refuse("an integer", None, source),
            found => found,
        }
    }

    /// The value as an integer, if it is one.
    pub(crate) fn as_integer(self) -> Option<i128> {
        let integer = self.inner.get_ref().as_integer()?;
        // Digits alone fail to parse only when they are too many.
        Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
    }

    /// The value as a string, if it is one.
    pub(crate) fn as_str(self) -> Option<&'t str> {
        self.inner.get_ref().as_str()
    }

    /// The items of the value as an array.
    pub(crate) fn array(self, source: &mut Source<'_>) -> Option<Vec<Value<'t>>> {
        match self.inner.get_ref() {
            DeValue::Array(items) => Some(items.iter().map(|inner| Value { key: self.key, inner }).collect()),
            DeValue::Table(_) => {
                self.refuse("an array of tables", Some(format!("write `[[{}]]`", self.key)), source)
            }
            _ => self.refuse("an array", None, source),
        }
    }

    /// The entries of the value as a table whose keys are free: each key with where it stands, and its value.
    pub(crate) fn entries(
        self,
        what: &'static str,
        source: &mut Source<'_>,
    ) -> Option<Vec<(&'t str, Range<usize>, Value<'t>)>> {
        match self.inner.get_ref() {
            DeValue::Table(entries) => {
                let entry = |(key, inner): (&'t Spanned<_>, &'t Spanned<DeValue<'t>>)| {
                    let name: &'t std::borrow::Cow<'t, str> = key.get_ref();
                    (name.as_ref(), key.span(), Value { key: self.key, inner })
                };
                Some(entries.iter().map(entry).collect())
            }
            _ => self.refuse("a table", Some(format!("write `{what}`")), source),
        }
    }

    /// The value as a table.
    pub(crate) fn table(self, what: &'static str, keys: &Keys, source: &mut Source<'_>) -> Option<Table<'t>> {
        match self.inner.get_ref() {
            DeValue::Table(entries) => Some(Table::new(entries, self.span(), what, keys, source)),
            DeValue::Array(_) => self.refuse("a table", Some(format!("write `{what}`")), source),
            _ => self.refuse("a table", None, source),
        }
    }

    /// A fault: the value is not what is `wanted`.
    pub(crate) fn refuse<T>(
        self,
        wanted: &str,
        advice: Option<String>,
        source: &mut Source<'_>,
    ) -> Option<T> {
        let found = match self.inner.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        source.error_with(self.span(), format!("`{}` must be {wanted}, not {found}", self.key), advice);
        None
    }
}

impl Text<'_> {
    /// Where the bytes `part` of the string stand; the whole of it where escapes or several quotation marks make that
    /// another place than it seems.
    pub(crate) fn span_of(&self, part: Range<usize>, source: &Source<'_>) -> Range<usize> {
        let written = source.text().get(self.span.clone()).unwrap_or_default();
        let inside = written.len().checked_sub(1).and_then(|end| written.get(1..end));
        if inside != Some(self.value) || part.is_empty() {
            return self.span.clone();
        }
        self.span.start + 1 + part.start..self.span.start + 1 + part.end
    }
}
