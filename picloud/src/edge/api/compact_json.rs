//! JSON without white space, in the form in which scripts store values.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

/// Rewrites a document without white space and with plain numbers. It is not parsed into a tree, which could have a
/// hundred times its size.
///
/// # Errors
/// It is not JSON, has a number out of range, or is nested deeper than scripts can read.
pub(super) fn compact(document: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut compact = Vec::with_capacity(document.len());
    let mut reader = serde_json::Deserializer::from_str(document);
    reader.deserialize_any(Writer(&mut serde_json::Serializer::new(&mut compact)))?;
    reader.end()?;
    Ok(compact)
}

/// Writes what is read.
struct Writer<S>(S);

/// A value that is written while it is read.
struct Value<D>(Cell<Option<D>>);

impl<'de, D: Deserializer<'de>> Serialize for Value<D> {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        let reader = self.0.take().ok_or_else(|| S::Error::custom("the value is written twice"))?;
        reader.deserialize_any(Writer(writer)).map_err(S::Error::custom)
    }
}

impl<'de, S: Serializer> Visitor<'de> for Writer<S> {
    type Value = S::Ok;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<S::Ok, E> {
        self.0.serialize_unit().map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<S::Ok, E> {
        self.0.serialize_bool(value).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<S::Ok, E> {
        self.0.serialize_i64(value).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<S::Ok, E> {
        self.0.serialize_u64(value).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<S::Ok, E> {
        self.0.serialize_f64(value).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<S::Ok, E> {
        self.0.serialize_str(value).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<S::Ok, A::Error> {
        let mut list = self.0.serialize_seq(None).map_err(A::Error::custom)?;
        while items.next_element_seed(Item(&mut list))?.is_some() {}
        list.end().map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<S::Ok, A::Error> {
        let mut map = self.0.serialize_map(None).map_err(A::Error::custom)?;
        while items.next_key_seed(Key(&mut map))?.is_some() {
            items.next_value_seed(Member(&mut map))?;
        }
        map.end().map_err(A::Error::custom)
    }
}

/// The next item of a list.
struct Item<'a, S>(&'a mut S);

impl<'de, S: SerializeSeq> DeserializeSeed<'de> for Item<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        self.0.serialize_element(&Value(Cell::new(Some(reader)))).map_err(D::Error::custom)
    }
}

/// The next key of a map.
struct Key<'a, S>(&'a mut S);

impl<'de, S: SerializeMap> DeserializeSeed<'de> for Key<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        self.0.serialize_key(&Value(Cell::new(Some(reader)))).map_err(D::Error::custom)
    }
}

/// The next value of a map.
struct Member<'a, S>(&'a mut S);

impl<'de, S: SerializeMap> DeserializeSeed<'de> for Member<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        self.0.serialize_value(&Value(Cell::new(Some(reader)))).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_rewritten_as_scripts_store_them() {
        for (document, expected) in [
            (" { \"b\" : [ 1 , -2 , true , null ] ,\n\"a\": { } }", r#"{"b":[1,-2,true,null],"a":{}}"#),
            ("[1.50, 1e2, 1e300, -0.0]", "[1.5,100.0,1e+300,-0.0]"),
            ("18446744073709551615", "18446744073709551615"),
            (r#""\u00e4\n\u0001\"\/""#, r#""ä\n\u0001\"/""#),
            (r#"{"a\u00e4":[]}"#, r#"{"aä":[]}"#),
        ] {
            assert_eq!(String::from_utf8(compact(document).unwrap()).unwrap(), expected, "{document}");
            assert_eq!(compact(expected).unwrap(), expected.as_bytes(), "{expected}");
        }
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(compact(&nested(127)).unwrap(), nested(127).as_bytes());
        for (invalid, reason) in [
            (nested(128).as_str(), "recursion limit exceeded"),
            ("1e999", "number out of range"),
            ("[1,]", "trailing comma"),
            ("1 2", "trailing characters"),
            ("", "EOF"),
        ] {
            let error = compact(invalid).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{invalid}: {error}");
        }
    }
}
