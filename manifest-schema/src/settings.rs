//! A flat file of settings in TOML: one value a key, each with its place. What the keys mean is for others to say.

use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, Faults, Place};

/// The largest file of settings that is read, in bytes.
pub const SETTINGS_MAX: usize = 64 * 1024;

/// A setting as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// Where that stands.
    pub key_place: Place,
    /// Its value as a flag would have it: a list with commas between its items, numbers without `_`.
    pub value: String,
    /// Where that stands.
    pub value_place: Place,
}

/// Reads the settings of `text`, in the order of their places. Faults are told of `file`.
///
/// # Errors
/// Something in it is no setting; all of that is told.
pub fn read(file: &str, text: &[u8]) -> Result<Vec<Setting>, Faults> {
    if text.len() > SETTINGS_MAX {
        let words = format!("the file is larger than {} KiB", SETTINGS_MAX / 1024);
        return Err(Fault::error(file, None, words).into());
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| Faults::from(Fault::error(file, None, "the file is not UTF-8")))?;
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut faults = Faults::default();
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = error.message().replace('\n', " ");
        faults.add(Fault::error(file, Some(Place::of_span(text, span)), message));
    }
    if faults.errors() > 0 {
        return Err(faults);
    }
    let mut settings = Vec::new();
    for (key, value) in root.get_ref() {
        let value_place = Place::of_span(text, value.span());
        match written(value.get_ref()) {
            Some(written) => settings.push(Setting {
                key: key.get_ref().to_string(),
                key_place: Place::of_span(text, key.span()),
                value: written,
                value_place,
            }),
            None => {
                let words = format!("`{}` must be a text, a number, true or false", key.get_ref());
                faults.add(Fault::error(file, Some(value_place), words));
            }
        }
    }
    settings.sort_by_key(|setting| (setting.key_place.line, setting.key_place.column));
    if faults.errors() > 0 { Err(faults) } else { Ok(settings) }
}

fn written(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            Some(items?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let faults = read("a.conf", text.as_bytes()).unwrap_err();
        let place = |fault: &Fault| fault.place.as_ref().map_or((0, 0), |place| (place.line, place.column));
        faults.iter().map(|fault| format!("{:?} {}", place(fault), fault.message)).collect()
    }

    #[test]
    fn values_are_read_as_flags_have_them() {
        let text = "a = \"x y\"\nb = 10_000 # many\nc = true\nd = [\"1\", \"2\"]\n";
        let read = read("a.conf", text.as_bytes()).unwrap();
        let pairs: Vec<_> =
            read.iter().map(|setting| (setting.key.as_str(), setting.value.as_str())).collect();
        assert_eq!(pairs, [("a", "x y"), ("b", "10000"), ("c", "true"), ("d", "1,2")]);
        assert_eq!((read[1].key_place.line, read[1].value_place.column), (2, 5));
    }

    #[test]
    fn what_is_no_setting_is_told_at_its_place() {
        assert_eq!(told("a = 1\nb = "), ["(2, 5) string values must be quoted, expected literal string"]);
        assert_eq!(told("a = 1.5"), ["(1, 5) `a` must be a text, a number, true or false"]);
        assert_eq!(told("[a]\nb = 1"), ["(1, 1) `a` must be a text, a number, true or false"]);
        assert_eq!(told("a = 1\na = 2").len(), 1);
        assert_eq!(told(&"#".repeat(SETTINGS_MAX + 1)), ["(0, 0) the file is larger than 64 KiB"]);
    }
}
