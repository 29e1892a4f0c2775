//! Reads TOML tables key by key. An invalid value becomes a diagnostic and `None`.

mod json;
mod unknown;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::Source;

/// A table without unknown keys.
pub(crate) struct Table<'t> {
    entries: &'t DeTable<'t>,
    /// The range of the header, for missing keys.
    header: Range<usize>,
    /// The table's name in messages: `[[routes]]`.
    name: &'static str,
    /// The known keys that unknown ones probably mean.
    misspelled: Vec<&'static str>,
}

/// The keys of a table.
pub(crate) struct Keys {
    /// The supported keys.
    pub(crate) known: &'static [&'static str],
    /// Reserved keys, not supported yet.
    pub(crate) reserved: &'static [&'static str],
}

/// The arrays of tables.
const TABLE_ARRAYS: [&str; 4] = ["routes", "schedules", "functions", "checks"];

impl<'t> Table<'t> {
    /// Reports each key that is not in `keys`.
    pub(crate) fn new(
        entries: &'t DeTable<'t>,
        header: Range<usize>,
        name: &'static str,
        keys: &Keys,
        source: &mut Source<'_>,
    ) -> Self {
        let mut misspelled = Vec::new();
        for key in entries.keys() {
            let key_name = key.get_ref().as_ref();
            if keys.reserved.contains(&key_name) {
                source.error(key.span(), format!("`{key_name}` is not yet supported by this server"));
            } else if !keys.known.contains(&key_name) {
                misspelled.extend(unknown::report(key, &entries[key], name, keys, source));
            }
        }
        Self { entries, header, name, misspelled }
    }

    /// Whether an unknown key is a likely misspelling of `key`.
    pub(crate) fn misspells(&self, key: &str) -> bool {
        self.misspelled.contains(&key)
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &'static str) -> Option<Value<'t>> {
        self.entries.get(key).map(|inner| Value { key, inner })
    }

    /// The range of the key itself.
    pub(crate) fn key_span(&self, key: &'static str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// The value of `key`, which is required.
    pub(crate) fn require(&self, key: &'static str, source: &mut Source<'_>) -> Option<Value<'t>> {
        let value = self.get(key);
        if value.is_none() && !self.misspells(key) {
            source.error(self.header.clone(), format!("{} has no `{key}`", self.name));
        }
        value
    }

    /// The string of `key`, which is required.
    pub(crate) fn require_string(&self, key: &'static str, source: &mut Source<'_>) -> Option<Text<'t>> {
        self.require(key, source)?.string(source)
    }
}

/// A value of a key, or an item of its array.
#[derive(Clone, Copy)]
pub(crate) struct Value<'t> {
    key: &'static str,
    inner: &'t Spanned<DeValue<'t>>,
}

/// A string and its range.
#[derive(Clone)]
pub(crate) struct Text<'t> {
    /// The string with escapes resolved.
    pub(crate) value: &'t str,
    /// The range, including quotation marks.
    pub(crate) span: Range<usize>,
}

impl<'t> Value<'t> {
    /// The key of the value.
    pub(crate) fn key(self) -> &'static str {
        self.key
    }

    /// The range of the value.
    pub(crate) fn span(self) -> Range<usize> {
        self.inner.span()
    }

    /// The value as a string, or a diagnostic.
    pub(crate) fn string(self, source: &mut Source<'_>) -> Option<Text<'t>> {
        match self.inner.get_ref() {
            DeValue::String(value) => Some(Text { value, span: self.span() }),
            // For free text, a number only lacks its quotation marks.
            DeValue::Integer(_) | DeValue::Float(_) if self.key == "description" => {
                let written = source.text().get(self.span()).unwrap_or_default();
                self.type_error("a string", Some(format!("write `\"{written}\"`")), source)
            }
            DeValue::Array(items) => {
                let only = items.first().filter(|item| items.len() == 1 && item.get_ref().is_str());
                let written = only.and_then(|item| source.text().get(item.span()));
                let help = match (written, self.key) {
                    (Some(written), _) => Some(format!("write `{written}`")),
                    (None, "path" | "script") => Some("write one `[[routes]]` for each".to_owned()),
                    (None, _) => None,
                };
                self.type_error("a string", help, source)
            }
            _ => self.type_error("a string", None, source),
        }
    }

    /// Whether it is an array.
    pub(crate) fn is_array(self) -> bool {
        self.inner.get_ref().is_array()
    }

    /// The value as an integer, or a diagnostic. Saturates at the maximum of [`i128`].
    pub(crate) fn integer(self, source: &mut Source<'_>) -> Option<i128> {
        match self.as_integer() {
            None => self.type_error("an integer", None, source),
            found => found,
        }
    }

    /// The source text of a number or boolean.
    pub(crate) fn scalar_source(self, source: &Source<'_>) -> Option<String> {
        let is_boolean = matches!(self.inner.get_ref(), DeValue::Boolean(_));
        let boolean = || source.text().get(self.span()).map(str::to_owned).filter(|_| is_boolean);
        self.number_source(source).or_else(boolean)
    }

    /// The source text of a number.
    pub(crate) fn number_source(self, source: &Source<'_>) -> Option<String> {
        let is_number = matches!(self.inner.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
        is_number.then(|| source.text().get(self.span()).unwrap_or_default().to_owned())
    }

    /// The value as an integer, if it is one.
    pub(crate) fn as_integer(self) -> Option<i128> {
        let integer = self.inner.get_ref().as_integer()?;
        // Digits fail to parse only by overflow.
        Some(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
    }

    /// The value as a string, if it is one.
    pub(crate) fn as_str(self) -> Option<&'t str> {
        self.inner.get_ref().as_str()
    }

    /// The items of an array, or a diagnostic.
    pub(crate) fn array(self, source: &mut Source<'_>) -> Option<Vec<Value<'t>>> {
        match self.inner.get_ref() {
            DeValue::Array(items) => Some(items.iter().map(|inner| Value { key: self.key, inner }).collect()),
            DeValue::Table(_) if TABLE_ARRAYS.contains(&self.key) => {
                let help = match self.single_line_source(source) {
                    Some(header) if header.starts_with('[') => format!("write `[[{}]]`", self.key),
                    Some(table) if table.starts_with('{') => format!("write `[{table}]`"),
                    _ => format!("write a line `[[{}]]` before the keys of each", self.key),
                };
                self.type_error("an array of tables", Some(help), source)
            }
            DeValue::String(_) if !TABLE_ARRAYS.contains(&self.key) => {
                let help = self.single_line_source(source).map(|text| format!("write `[{text}]`"));
                self.type_error("an array", help, source)
            }
            _ => self.type_error("an array", None, source),
        }
    }

    /// The entries of a table with arbitrary keys: name, range of the key, value. Or a diagnostic.
    pub(crate) fn entries(
        self,
        name: &'static str,
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
            _ => self.type_error("a table", Some(format!("write `{name}`")), source),
        }
    }

    /// The value as a table with known keys, or a diagnostic.
    pub(crate) fn table(self, name: &'static str, keys: &Keys, source: &mut Source<'_>) -> Option<Table<'t>> {
        match self.inner.get_ref() {
            DeValue::Table(entries) => Some(Table::new(entries, self.span(), name, keys, source)),
            DeValue::Array(_) => {
                let help = match self.single_line_source(source) {
                    Some(array) if array.starts_with("[[") => Some(format!("write `{name}`")),
                    Some(array) => match keys.known {
                        // The array can only be the value of the only key.
                        [only] => Some(format!("write `{{ {only} = {array} }}`")),
                        _ => None,
                    },
                    None => None,
                };
                self.type_error("a table", help, source)
            }
            _ => self.type_error("a table", None, source),
        }
    }

    /// The source text of the value, if it is on one line.
    fn single_line_source<'s>(self, source: &Source<'s>) -> Option<&'s str> {
        source.text().get(self.span()).filter(|text| !text.contains('\n') && !text.is_empty())
    }

    /// Reports that the value has the wrong type.
    pub(crate) fn type_error<T>(
        self,
        wanted: &str,
        help: Option<String>,
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
        source.error_with(self.span(), format!("`{}` must be {wanted}, not {found}", self.key), help);
        None
    }
}

impl Text<'_> {
    /// The range of the bytes `part` of the string. With escapes or a multi-line string, the range of the whole
    /// string.
    pub(crate) fn span_of(&self, part: Range<usize>, source: &Source<'_>) -> Range<usize> {
        let written = source.text().get(self.span.clone()).unwrap_or_default();
        let inside = written.len().checked_sub(1).and_then(|end| written.get(1..end));
        if inside != Some(self.value) || part.is_empty() {
            return self.span.clone();
        }
        self.span.start + 1 + part.start..self.span.start + 1 + part.end
    }
}
