//! Reads TOML tables key by key. What is not as it should be becomes a diagnostic at its place, and no value.

mod unknown;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::Source;

/// A table in which every key is known.
pub(crate) struct Table<'t> {
    entries: &'t DeTable<'t>,
    /// Where the table begins: what a missing key is placed at.
    header: Range<usize>,
    /// What the table is, for people: `[[routes]]`.
    what: &'static str,
    /// The keys that unknown ones were meant to be.
    meant: Vec<&'static str>,
}

/// The keys that a table may have.
pub(crate) struct Keys {
    /// Those that are read.
    pub(crate) known: &'static [&'static str],
    /// Those of the contract that this server does not read yet.
    pub(crate) not_yet: &'static [&'static str],
}

/// Arrays of tables.
const TABLES: [&str; 3] = ["routes", "schedules", "functions"];

impl<'t> Table<'t> {
    /// The table `what`, which begins at `header`; every key beyond `keys` is a diagnostic.
    pub(crate) fn new(
        entries: &'t DeTable<'t>,
        header: Range<usize>,
        what: &'static str,
        keys: &Keys,
        source: &mut Source<'_>,
    ) -> Self {
        let mut meant = Vec::new();
        for key in entries.keys() {
            let name = key.get_ref().as_ref();
            if keys.not_yet.contains(&name) {
                source.error(key.span(), format!("`{name}` is not supported by this server yet"));
            } else if !keys.known.contains(&name) {
                meant.extend(unknown::refuse(key, &entries[key], what, keys, source));
            }
        }
        Self { entries, header, what, meant }
    }

    /// Whether an unknown key was meant to be `key`.
    pub(crate) fn misspells(&self, key: &str) -> bool {
        self.meant.contains(&key)
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
        if value.is_none() && !self.misspells(key) {
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
            // A number is text where any text will do.
            DeValue::Integer(_) | DeValue::Float(_) if self.key == "description" => {
                let written = source.text().get(self.span()).unwrap_or_default();
                self.refuse("a string", Some(format!("write `\"{written}\"`")), source)
            }
            DeValue::Array(items) => {
                let only = items.first().filter(|item| items.len() == 1 && item.get_ref().is_str());
                let written = only.and_then(|item| source.text().get(item.span()));
                let help = match (written, self.key) {
                    (Some(written), _) => Some(format!("write `{written}`")),
                    (None, "path" | "script") => Some("begin a `[[routes]]` for each".to_owned()),
                    (None, _) => None,
                };
                self.refuse("a string", help, source)
            }
            _ => self.refuse("a string", None, source),
        }
    }

    /// Whether it is an array.
    pub(crate) fn is_array(self) -> bool {
        self.inner.get_ref().is_array()
    }

    /// The value as an integer; one beyond what an [`i128`] holds is its greatest.
    pub(crate) fn integer(self, source: &mut Source<'_>) -> Option<i128> {
        match self.as_integer() {
            None => self.refuse("an integer", None, source),
            found => found,
        }
    }

    /// The number or boolean as it is written, if the value is one.
    pub(crate) fn scalar_written(self, source: &Source<'_>) -> Option<String> {
        let is_boolean = matches!(self.inner.get_ref(), DeValue::Boolean(_));
        let boolean = || source.text().get(self.span()).map(str::to_owned).filter(|_| is_boolean);
        self.as_written(source).or_else(boolean)
    }

    /// The number as it is written, if the value is one.
    pub(crate) fn as_written(self, source: &Source<'_>) -> Option<String> {
        let is_number = matches!(self.inner.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
        is_number.then(|| source.text().get(self.span()).unwrap_or_default().to_owned())
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
            DeValue::Table(_) if TABLES.contains(&self.key) => {
                let help = match self.written_on_one_line(source) {
                    Some(header) if header.starts_with('[') => format!("write `[[{}]]`", self.key),
                    Some(table) if table.starts_with('{') => format!("write `[{table}]`"),
                    _ => format!("begin each with a line `[[{}]]`, and set its keys below", self.key),
                };
                self.refuse("an array of tables", Some(help), source)
            }
            DeValue::String(_) if !TABLES.contains(&self.key) => {
                let help = self.written_on_one_line(source).map(|text| format!("write `[{text}]`"));
                self.refuse("an array", help, source)
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
            DeValue::Array(_) => {
                let help = match self.written_on_one_line(source) {
                    Some(array) if array.starts_with("[[") => Some(format!("write `{what}`")),
                    Some(array) => match keys.known {
                        // What is listed can only be that.
                        [only] => Some(format!("write `{{ {only} = {array} }}`")),
                        _ => None,
                    },
                    None => None,
                };
                self.refuse("a table", help, source)
            }
            _ => self.refuse("a table", None, source),
        }
    }

    /// The value as it stands in the text, where that is a part of one line.
    fn written_on_one_line<'s>(self, source: &Source<'s>) -> Option<&'s str> {
        source.text().get(self.span()).filter(|text| !text.contains('\n') && !text.is_empty())
    }

    /// A diagnostic: the value is not what is `wanted`.
    pub(crate) fn refuse<T>(self, wanted: &str, help: Option<String>, source: &mut Source<'_>) -> Option<T> {
        let found = match self.inner.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        source.error_with(self.span(), format!("`{}` must be {wanted}, not {found}", self.key), help);
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
