//! Converts JSON to Rhai values and back (RFC 8259), without an intermediate tree.
//!
//! | JSON | Rhai |
//! | --- | --- |
//! | `null` | `()` |
//! | `true`, `false` | bool |
//! | a number without fraction and exponent, within 64 bits | integer |
//! | any other number | float; integers beyond 64 bits lose precision |
//! | string | string; a character is written as a string |
//! | array | array |
//! | object | map; the last of duplicate keys wins; keys are written sorted |
//!
//! Values without a JSON form are rejected, not changed: function pointers, blobs, ranges, `NaN` and the infinities.
//! Nesting is limited in both directions, so that neither a body nor a value can exhaust the stack.

use std::fmt;
use std::io;

use rhai::{Array, Dynamic, ImmutableString, Map};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::run_context;
use crate::sdk::{AllSecretsError, Settings};
use crate::type_name::type_name;

/// The maximum nesting of arrays and maps, the same as in serde_json.
pub(crate) const DEPTH_MAX: usize = 127;

/// The initial capacity of a document, in bytes; most responses are shorter.
const INITIAL_CAPACITY: usize = 128;

/// The number of text bytes that cost as much as visiting one value.
pub(crate) const BYTES_PER_STEP: usize = 16;

/// Why a value cannot be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// A type without a JSON form.
    #[error("{0} cannot be converted to JSON")]
    Type(&'static str),
    /// All secrets at once.
    #[error(transparent)]
    Secrets(#[from] AllSecretsError),
    /// `NaN` or an infinity.
    #[error("the number {0} cannot be converted to JSON")]
    Number(String),
    /// Nested too deep.
    #[error("the value is nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// Too long.
    #[error("the JSON is longer than {0} bytes")]
    Length(usize),
    /// A limit of the current execution was reached.
    #[error("a limit was reached")]
    LimitReached,
}

/// Parses a document.
///
/// # Errors
/// It is not JSON, is nested too deep, or a limit of the current execution was reached.
pub(crate) fn read(document: &[u8]) -> Result<Dynamic, serde_json::Error> {
    serde_json::from_slice::<Value>(document).map(|value| value.0)
}

/// Writes `value` as a document of at most `length_max` bytes.
///
/// # Errors
/// A part of it has no JSON form, it is too deep or too long, or a limit of the current execution was reached.
pub(crate) fn write(value: &Dynamic, length_max: usize) -> Result<Vec<u8>, JsonError> {
    write_nested(value, length_max, 0)
}

/// [`write()`] of a value that will be nested `depth` levels deep.
///
/// # Errors
/// As for [`write()`].
pub(crate) fn write_nested(value: &Dynamic, length_max: usize, depth: usize) -> Result<Vec<u8>, JsonError> {
    let mut writer = Writer::new(length_max);
    writer.value(value, depth)?;
    Ok(writer.out)
}

/// [`write()`] as text.
///
/// # Errors
/// As for [`write()`].
pub(crate) fn write_text(value: &Dynamic, length_max: usize) -> Result<String, JsonError> {
    write(value, length_max).map(text)
}

/// Writes a map as text.
///
/// # Errors
/// As for [`write()`].
pub(crate) fn map_text(map: &Map, length_max: usize) -> Result<String, JsonError> {
    let mut writer = Writer::new(length_max);
    writer.map(map, 0)?;
    Ok(text(writer.out))
}

/// The writer only writes text, so nothing is replaced here.
fn text(written: Vec<u8>) -> String {
    String::from_utf8(written).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

struct Writer {
    out: Vec<u8>,
    length_max: usize,
    /// Why writing stopped.
    error: Option<JsonError>,
}

/// The output of the serializers; it accepts nothing beyond the length or the limits of the execution.
impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match charge(bytes.len()).and_then(|()| self.raw(bytes)) {
            Ok(()) => Ok(bytes.len()),
            Err(why) => {
                self.error = Some(why);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer {
    fn new(length_max: usize) -> Self {
        Self { out: Vec::with_capacity(INITIAL_CAPACITY.min(length_max)), length_max, error: None }
    }

    /// Checks the types in the order of their frequency.
    fn value(&mut self, value: &Dynamic, depth: usize) -> Result<(), JsonError> {
        if let Some(text) = value.read_lock::<ImmutableString>() {
            self.text(&text)
        } else if value.is_int() {
            self.scalar(&value.as_int().unwrap_or_default())
        } else if let Some(map) = value.read_lock::<Map>() {
            self.map(&map, depth)
        } else if let Some(array) = value.read_lock::<Array>() {
            self.array(&array, depth)
        } else if let Ok(flag) = value.as_bool() {
            charge(0)?;
            self.raw(if flag { b"true" } else { b"false" })
        } else if value.is::<()>() {
            charge(0)?;
            self.raw(b"null")
        } else if let Ok(float) = value.as_float() {
            if !float.is_finite() {
                return Err(JsonError::Number(float.to_string()));
            }
            self.scalar(&float)
        } else if let Ok(character) = value.as_char() {
            self.scalar(&character)
        } else if let Some(settings) = value.read_lock::<Settings>() {
            self.settings(&settings, depth)
        } else {
            Err(JsonError::Type(type_name(value)))
        }
    }

    fn settings(&mut self, settings: &Settings, depth: usize) -> Result<(), JsonError> {
        check_depth(depth)?;
        charge(0)?;
        self.raw(b"{")?;
        for (index, (name, value)) in settings.entries()?.enumerate() {
            if index > 0 {
                self.raw(b",")?;
            }
            self.text(name)?;
            self.raw(b":")?;
            self.text(value)?;
        }
        self.raw(b"}")
    }

    fn array(&mut self, array: &Array, depth: usize) -> Result<(), JsonError> {
        check_depth(depth)?;
        charge(0)?;
        self.raw(b"[")?;
        for (index, item) in array.iter().enumerate() {
            if index > 0 {
                self.raw(b",")?;
            }
            self.value(item, depth + 1)?;
        }
        self.raw(b"]")
    }

    fn map(&mut self, map: &Map, depth: usize) -> Result<(), JsonError> {
        check_depth(depth)?;
        charge(0)?;
        self.raw(b"{")?;
        for (index, (key, item)) in map.iter().enumerate() {
            if index > 0 {
                self.raw(b",")?;
            }
            self.text(key)?;
            self.raw(b":")?;
            self.value(item, depth + 1)?;
        }
        self.raw(b"}")
    }

    fn text(&mut self, text: &str) -> Result<(), JsonError> {
        // Without a branch per byte, which takes a fraction of the time.
        let escaped = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
        if text.bytes().fold(false, |any, byte| any | escaped(byte)) {
            return self.scalar(text);
        }
        charge(text.len())?;
        self.raw(b"\"")?;
        self.raw(text.as_bytes())?;
        self.raw(b"\"")
    }

    /// Writes a piece of JSON that is already charged.
    fn raw(&mut self, json: &[u8]) -> Result<(), JsonError> {
        if json.len() > self.length_max - self.out.len() {
            return Err(JsonError::Length(self.length_max));
        }
        self.out.extend_from_slice(json);
        Ok(())
    }

    fn scalar<T: serde::Serialize + ?Sized>(&mut self, scalar: &T) -> Result<(), JsonError> {
        // Strings, characters and finite numbers always serialize; only the writer can fail.
        serde_json::to_writer(&mut *self, scalar).map_err(|_| self.take_error())
    }

    fn take_error(&mut self) -> JsonError {
        self.error.take().unwrap_or(JsonError::Length(self.length_max))
    }
}

/// Charges the work of a value of this length.
fn charge(bytes: usize) -> Result<(), JsonError> {
    run_context::charge(1 + bytes / BYTES_PER_STEP).map_or(Ok(()), |_| Err(JsonError::LimitReached))
}

fn check_depth(depth: usize) -> Result<(), JsonError> {
    if depth >= DEPTH_MAX { Err(JsonError::Depth) } else { Ok(()) }
}

/// A parsed value.
struct Value(Dynamic);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value(Dynamic::UNIT))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value(flag.into()))
    }

    fn visit_i64<E>(self, integer: i64) -> Result<Value, E> {
        Ok(Value(integer.into()))
    }

    fn visit_u64<E>(self, integer: u64) -> Result<Value, E> {
        Ok(Value(match i64::try_from(integer) {
            Ok(integer) => integer.into(),
            Err(_) => Dynamic::from_float(integer as f64),
        }))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Value, E> {
        Ok(Value(Dynamic::from_float(float)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Array::new();
        while let Some(Value(item)) = items.next_element()? {
            array.push(item);
            within_limits()?;
        }
        Ok(Value(Dynamic::from_array(array)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((Key(key), Value(item))) = entries.next_entry()? {
            map.insert(key, item);
            within_limits()?;
        }
        Ok(Value(Dynamic::from_map(map)))
    }
}

fn within_limits<E: serde::de::Error>() -> Result<(), E> {
    run_context::charge(1).map_or(Ok(()), |_| Err(E::custom("a limit was reached")))
}

/// A key in the representation of Rhai's maps.
struct Key(rhai::Identifier);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyReader;
        impl Visitor<'_> for KeyReader {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(Key(key.into()))
            }
        }
        deserializer.deserialize_str(KeyReader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rhai::FnPtr;

    fn round_trip(document: &str) -> String {
        write_text(&read(document.as_bytes()).unwrap(), usize::MAX).unwrap()
    }

    #[test]
    fn every_type_round_trips() {
        for document in [
            "null",
            "true",
            "-7",
            "0",
            "1.0",
            "1.5",
            "1e+300",
            "\"é\\n\\u0000\\\"\"",
            "[]",
            "{}",
            "[1,1.0,\"1\",null,[{}]]",
            "{\"a\":{\"b\":[true]},\"z\":null}",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert_eq!(round_trip(document), document);
        }
    }

    #[test]
    fn integers_beyond_64_bits_become_floats() {
        assert_eq!(round_trip("9223372036854775808"), "9.223372036854776e+18");
        assert_eq!(round_trip("123456789012345678901234567890"), "1.2345678901234568e+29");
        assert!(read(b"1e999").is_err());
    }

    #[test]
    fn last_of_duplicate_keys_wins() {
        assert_eq!(round_trip(r#"{"b":1,"a":2,"b":3}"#), r#"{"a":2,"b":3}"#);
    }

    #[test]
    fn invalid_documents_are_rejected() {
        for document in [r#""\ud800""#, "", "{", "[1,]", "nul", "1 2", "'a'", "{a:1}", "NaN", "\"\u{1}\""] {
            assert!(read(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn nesting_is_limited_both_ways() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(round_trip(&nested(DEPTH_MAX)), nested(DEPTH_MAX));
        assert!(read(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        let mut value = Dynamic::UNIT;
        for _ in 0..=DEPTH_MAX {
            value = vec![value].into();
        }
        assert_eq!(write(&value, usize::MAX), Err(JsonError::Depth));
    }

    #[test]
    fn values_without_json_form_are_rejected() {
        let rejected = |value: Dynamic| write(&value, usize::MAX).unwrap_err().to_string();
        assert_eq!(rejected(f64::NAN.into()), "the number NaN cannot be converted to JSON");
        assert_eq!(rejected(f64::INFINITY.into()), "the number inf cannot be converted to JSON");
        assert_eq!(rejected(FnPtr::new("f").unwrap().into()), "a function cannot be converted to JSON");
        assert_eq!(rejected(Dynamic::from_blob(vec![1])), "a blob cannot be converted to JSON");
        assert_eq!(rejected(Dynamic::from(0..3_i64)), "a range cannot be converted to JSON");
    }

    #[test]
    fn document_length_is_limited() {
        assert_eq!(write(&"x".repeat(100).into(), 50), Err(JsonError::Length(50)));
        let many: Array = vec![Dynamic::from(1_i64); 100];
        assert_eq!(write(&many.into(), 50), Err(JsonError::Length(50)));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_round_trips(document in any_json()) {
            let text = document.to_string();
            let back: serde_json::Value = serde_json::from_str(&round_trip(&text)).unwrap();
            prop_assert_eq!(back, serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }

        /// A number is an integer if it is written as one and fits, else the nearest float, if there is one.
        #[test]
        fn any_number_keeps_its_value(
            sign in "-?", whole in "(0|[1-9][0-9]{0,22})", fraction in "(\\.[0-9]{1,20})?", exponent in "([eE][+-]?[0-9]{1,3})?",
        ) {
            let text = format!("{sign}{whole}{fraction}{exponent}");
            let read = read(text.as_bytes());
            let float: f64 = text.parse().unwrap();
            if fraction.is_empty() && exponent.is_empty() && text != "-0" && let Ok(integer) = text.parse::<i64>() {
                prop_assert_eq!(read.unwrap().as_int(), Ok(integer));
            } else if float.is_finite() {
                prop_assert_eq!(read.unwrap().as_float().map(f64::to_bits), Ok(float.to_bits()));
            } else {
                prop_assert!(read.is_err());
            }
        }

        #[test]
        fn any_escapes_are_decoded_or_rejected(
            units in prop::collection::vec(prop_oneof![any::<u16>(), 0xd7f0..0xe010_u16], 0..8)
        ) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read = read(format!("\"{escaped}\"").as_bytes());
            match String::from_utf16(&units) {
                Ok(text) => prop_assert_eq!(read.unwrap().into_string().unwrap(), text),
                Err(_) => prop_assert!(read.is_err()),
            }
        }

        #[test]
        fn any_nesting_is_parsed_up_to_the_limit(shape in prop::collection::vec(any::<bool>(), 0..200)) {
            let open: String = shape.iter().map(|array| if *array { "[" } else { "{\"a\":" }).collect();
            let close: String = shape.iter().rev().map(|array| if *array { "]" } else { "}" }).collect();
            let document = format!("{open}1{close}");
            let read = read(document.as_bytes());
            prop_assert_eq!(read.is_ok(), shape.len() <= DEPTH_MAX);
            if let Ok(value) = read {
                prop_assert_eq!(write_text(&value, usize::MAX).unwrap(), document);
            }
        }

        #[test]
        fn last_of_any_duplicate_keys_wins(keys in prop::collection::vec("[ab]", 1..8)) {
            let members: Vec<_> = keys.iter().enumerate().map(|(index, key)| format!("\"{key}\":{index}")).collect();
            let last: std::collections::BTreeMap<_, _> = keys.iter().enumerate().map(|(index, key)| (key, index)).collect();
            let expected = serde_json::to_string(&last).unwrap();
            prop_assert_eq!(round_trip(&format!("{{{}}}", members.join(","))), expected);
        }

        #[test]
        fn any_bytes_are_parsed_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
