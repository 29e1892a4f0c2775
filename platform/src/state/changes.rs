//! The result of changes to a value: sums, and arrays with more items.
//!
//! Values are the JSON that the runtime wrote, so that nothing is parsed that need not be.

use std::collections::VecDeque;

use bytes::Bytes;
use runtime::{KvChange, KvError, KvKey, KvNumber, KvValue, VALUE_BYTES_MAX};
use serde_json::value::RawValue;

/// A value while changes are applied to it.
enum Current {
    Absent,
    Value(KvValue),
    Number(KvNumber),
    /// The items of an array as JSON.
    Items(VecDeque<Bytes>),
}

/// Applies changes to the value of `key`, in order.
///
/// # Errors
/// A change does not fit the value.
pub(super) fn apply(
    key: &KvKey,
    base: Option<&KvValue>,
    changes: &[KvChange],
) -> Result<Option<KvValue>, KvError> {
    let mut current = base.map_or(Current::Absent, |value| Current::Value(value.clone()));
    for change in changes {
        current = match change {
            KvChange::Set { value, .. } | KvChange::Restore { value, .. } => Current::Value(value.clone()),
            KvChange::Delete => Current::Absent,
            KvChange::Add { number, .. } => {
                let sum = current.number().and_then(|value| add(value, *number).ok_or(Misfit::Overflow));
                Current::Number(sum.map_err(|misfit| misfit.at(key))?)
            }
            KvChange::Append { item, keep, .. } => {
                let mut items = current.items().map_err(|misfit| misfit.at(key))?;
                items.push_back(item.clone());
                let keep = keep.map_or(usize::MAX, |keep| usize::try_from(keep).unwrap_or(usize::MAX));
                while items.len() > keep {
                    items.pop_front();
                }
                Current::Items(items)
            }
        };
    }
    current.into_value(key)
}

/// Whether a change fits a value, without the cost of the result.
///
/// # Errors
/// It does not.
pub(super) fn check(key: &KvKey, value: &KvValue, change: &KvChange) -> Result<(), KvError> {
    match change {
        KvChange::Set { .. } | KvChange::Restore { .. } | KvChange::Delete => Ok(()),
        KvChange::Add { .. } => apply(key, Some(value), std::slice::from_ref(change)).map(drop),
        KvChange::Append { item, keep, .. } => match value {
            KvValue::Json(json) if json.starts_with(b"[") => match json.len() + item.len() + 1 {
                bytes if bytes > VALUE_BYTES_MAX && keep.is_none() => {
                    Err(KvError::TooLarge { key: key.clone(), bytes })
                }
                _ => Ok(()),
            },
            _ => Err(KvError::NoArray(key.clone())),
        },
    }
}

/// The number that a JSON document is.
fn number(json: &[u8]) -> Option<KvNumber> {
    let text = std::str::from_utf8(json).ok()?;
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    match text.parse::<i64>() {
        Ok(integer) => Some(KvNumber::Integer(integer)),
        Err(_) => text.parse::<f64>().ok().filter(|float| float.is_finite()).map(KvNumber::Float),
    }
}

/// The sum, unless it is out of range.
fn add(one: KvNumber, other: KvNumber) -> Option<KvNumber> {
    let float = |number| match number {
        // As Rhai adds an integer to a float.
        KvNumber::Integer(integer) => integer as f64,
        KvNumber::Float(float) => float,
    };
    match (one, other) {
        (KvNumber::Integer(one), KvNumber::Integer(other)) => one.checked_add(other).map(KvNumber::Integer),
        _ => Some(float(one) + float(other)).filter(|sum| sum.is_finite()).map(KvNumber::Float),
    }
}

/// Why a change does not fit.
enum Misfit {
    NoNumber,
    NoArray,
    Overflow,
}

impl Misfit {
    fn at(self, key: &KvKey) -> KvError {
        match self {
            Self::NoNumber => KvError::NoNumber(key.clone()),
            Self::NoArray => KvError::NoArray(key.clone()),
            Self::Overflow => KvError::Overflow(key.clone()),
        }
    }
}

impl Current {
    fn number(&self) -> Result<KvNumber, Misfit> {
        match self {
            Self::Absent => Ok(KvNumber::Integer(0)),
            Self::Number(number) => Ok(*number),
            Self::Value(KvValue::Json(json)) => number(json).ok_or(Misfit::NoNumber),
            Self::Value(KvValue::Blob(_)) | Self::Items(_) => Err(Misfit::NoNumber),
        }
    }

    fn items(self) -> Result<VecDeque<Bytes>, Misfit> {
        match self {
            Self::Absent => Ok(VecDeque::new()),
            Self::Items(items) => Ok(items),
            Self::Value(KvValue::Json(json)) if json.starts_with(b"[") => {
                let items: Vec<&RawValue> = serde_json::from_slice(&json).map_err(|_| Misfit::NoArray)?;
                Ok(items.iter().map(|item| json.slice_ref(item.get().as_bytes())).collect())
            }
            Self::Value(_) | Self::Number(_) => Err(Misfit::NoArray),
        }
    }

    fn into_value(self, key: &KvKey) -> Result<Option<KvValue>, KvError> {
        let json = match self {
            Self::Absent => return Ok(None),
            Self::Value(value) => return Ok(Some(value)),
            Self::Number(KvNumber::Integer(integer)) => integer.to_string().into_bytes(),
            Self::Number(KvNumber::Float(float)) => {
                // A finite number always has a form in JSON.
                serde_json::to_vec(&float).map_err(|_| KvError::Overflow(key.clone()))?
            }
            Self::Items(items) => {
                let bytes = 2 + items.iter().map(|item| item.len() + 1).sum::<usize>();
                if bytes.saturating_sub(1) > VALUE_BYTES_MAX {
                    return Err(KvError::TooLarge { key: key.clone(), bytes: bytes - 1 });
                }
                let mut json = Vec::with_capacity(bytes);
                json.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push(b',');
                    }
                    json.extend_from_slice(item);
                }
                json.push(b']');
                json
            }
        };
        Ok(Some(KvValue::Json(json.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KvKey {
        KvKey::new("k").unwrap()
    }

    fn json(text: &str) -> KvValue {
        KvValue::Json(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn plus(number: KvNumber) -> KvChange {
        KvChange::Add { number, ttl: None }
    }

    fn append(item: &str, keep: Option<u32>) -> KvChange {
        KvChange::Append { item: Bytes::copy_from_slice(item.as_bytes()), keep, ttl: None }
    }

    fn result(base: Option<&str>, changes: &[KvChange]) -> Result<Option<String>, KvError> {
        let value = apply(&key(), base.map(json).as_ref(), changes)?;
        Ok(value.map(|value| String::from_utf8(value.bytes().to_vec()).unwrap()))
    }

    #[test]
    fn sums_keep_integers_and_floats_apart() {
        use KvNumber::{Float, Integer};
        for (base, number, sum) in [
            (None, Integer(2), "2"),
            (Some("1"), Integer(-3), "-2"),
            (Some("1.5"), Integer(1), "2.5"),
            (Some("1"), Float(1.0), "2.0"),
            (Some("1e+300"), Float(0.0), "1e+300"),
            (Some("9223372036854775806"), Integer(1), "9223372036854775807"),
        ] {
            assert_eq!(result(base, &[plus(number)]).unwrap().as_deref(), Some(sum), "{base:?} + {number:?}");
        }
        assert_eq!(result(Some("9223372036854775807"), &[plus(Integer(1))]), Err(KvError::Overflow(key())));
        assert_eq!(result(Some("1e308"), &[plus(Float(1e308))]), Err(KvError::Overflow(key())));
        for base in ["\"1\"", "[1]", "{}", "true", "null"] {
            assert_eq!(result(Some(base), &[plus(Integer(1))]), Err(KvError::NoNumber(key())), "{base}");
        }
    }

    #[test]
    fn arrays_keep_their_newest_items() {
        let appended = |base, items: &[&str], keep| {
            let changes: Vec<_> = items.iter().map(|item| append(item, keep)).collect();
            result(base, &changes).map(Option::unwrap)
        };
        assert_eq!(appended(None, &["1"], None).unwrap(), "[1]");
        assert_eq!(appended(Some("[]"), &["{\"a\":[1,2]}"], None).unwrap(), "[{\"a\":[1,2]}]");
        assert_eq!(appended(Some("[\"a,]\",[2],3]"), &["4", "5"], Some(3)).unwrap(), "[3,4,5]");
        assert_eq!(appended(Some("[1,2,3]"), &["4"], Some(1)).unwrap(), "[4]");
        assert_eq!(appended(Some("{}"), &["4"], None), Err(KvError::NoArray(key())));
        let long = format!("[\"{}\"]", "x".repeat(VALUE_BYTES_MAX - 4));
        assert!(matches!(appended(Some(&long), &["1"], None), Err(KvError::TooLarge { .. })));
        assert_eq!(appended(Some(&long), &["1"], Some(1)).unwrap(), "[1]");
    }

    #[test]
    fn changes_follow_each_other() {
        let set = |text: &str| KvChange::Set { value: json(text), ttl: None };
        let changes = [KvChange::Delete, append("1", None), set("5"), plus(KvNumber::Integer(1))];
        assert_eq!(result(Some("{}"), &changes).unwrap().as_deref(), Some("6"));
        assert_eq!(result(Some("1"), &[set("2"), KvChange::Delete]).unwrap(), None);
        assert_eq!(result(Some("1"), &[append("1", None)]), Err(KvError::NoArray(key())));
    }

    #[test]
    fn misfits_are_found_before_the_result_is_built() {
        assert_eq!(check(&key(), &json("[1]"), &append("2", None)), Ok(()));
        assert_eq!(check(&key(), &json("1"), &append("2", None)), Err(KvError::NoArray(key())));
        assert_eq!(check(&key(), &json("{}"), &plus(KvNumber::Integer(1))), Err(KvError::NoNumber(key())));
    }
}
