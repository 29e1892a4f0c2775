//! The first difference of two JSON values, at its JSON pointer (RFC 6901).

use serde_json::{Number, Value};

/// The maximum length of a shown value, in characters.
const SHOWN_MAX: usize = 200;

/// How an object is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both objects have the same keys.
    Whole,
    /// The found object can have more keys than the expected one.
    Part,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The JSON pointer, empty for the whole value.
    pub pointer: String,
    /// The expected value as JSON, or `nothing`.
    pub expected: String,
    /// The found value as JSON, or `nothing`.
    pub found: String,
}

/// The first difference in the order of the expected value. Numbers are compared by value: 1 is 1.0.
pub fn difference(expected: &Value, found: &Value, comparison: Comparison) -> Option<Difference> {
    at(&mut String::new(), expected, found, comparison)
}

fn at(pointer: &mut String, expected: &Value, found: &Value, comparison: Comparison) -> Option<Difference> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                if let Some(difference) =
                    below(pointer, key, Some(value), found.get(key.as_str()), comparison)
                {
                    return Some(difference);
                }
            }
            if comparison == Comparison::Part {
                return None;
            }
            let (key, value) = found.iter().find(|(key, _)| !expected.contains_key(key.as_str()))?;
            below(pointer, key, None, Some(value), comparison)
        }
        (Value::Array(expected), Value::Array(found)) => {
            (0..expected.len().max(found.len())).find_map(|index| {
                let (expected, found) = (expected.get(index), found.get(index));
                below(pointer, &index.to_string(), expected, found, comparison)
            })
        }
        (Value::Number(expected), Value::Number(found)) if same_number(expected, found) => None,
        _ if expected == found => None,
        _ => Some(Difference { pointer: pointer.clone(), expected: shown(expected), found: shown(found) }),
    }
}

/// The difference at a key or an index.
fn below(
    pointer: &mut String,
    key: &str,
    expected: Option<&Value>,
    found: Option<&Value>,
    comparison: Comparison,
) -> Option<Difference> {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
    let difference = match (expected, found) {
        (Some(expected), Some(found)) => at(pointer, expected, found, comparison),
        (expected, found) => {
            let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), shown);
            Some(Difference { pointer: pointer.clone(), expected: show(expected), found: show(found) })
        }
    };
    pointer.truncate(length);
    difference
}

fn same_number(left: &Number, right: &Number) -> bool {
    left == right
        || left.as_f64().is_some_and(|left| Some(left) == right.as_f64() && left.abs() < 2f64.powi(53))
}

/// The value as JSON, cut off where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(expected: &Value, found: &Value, comparison: Comparison) -> Option<[String; 3]> {
        difference(expected, found, comparison).map(|found| [found.pointer, found.expected, found.found])
    }

    #[test]
    fn first_difference_is_at_its_pointer() {
        let whole = |expected, found| of(&expected, &found, Comparison::Whole);
        assert_eq!(whole(json!({"a": [1, {"b": 2.0}]}), json!({"a": [1.0, {"b": 2}]})), None);
        let cases = [
            (json!(1), json!("1"), ["", "1", "\"1\""]),
            (json!({"a/b": {"~": 1}}), json!({"a/b": {"~": 2}}), ["/a~1b/~0", "1", "2"]),
            (json!({"a": 1}), json!({}), ["/a", "1", "nothing"]),
            (json!({}), json!({"a": null}), ["/a", "nothing", "null"]),
            (json!([1, 2]), json!([1]), ["/1", "2", "nothing"]),
            (json!([1]), json!([1, [2]]), ["/1", "nothing", "[2]"]),
            (
                json!(9007199254740993u64),
                json!(9007199254740992u64),
                ["", "9007199254740993", "9007199254740992"],
            ),
        ];
        for (expected, found, difference) in cases {
            assert_eq!(whole(expected, found), Some(difference.map(str::to_owned)));
        }
    }

    #[test]
    fn part_ignores_further_keys_at_every_depth() {
        let found = json!({"ok": true, "at": 7, "list": [{"id": 1, "name": "a"}]});
        let part = |expected| of(&expected, &found, Comparison::Part);
        assert_eq!(part(json!({"ok": true, "list": [{"id": 1}]})), None);
        assert_eq!(
            part(json!({"list": []})),
            Some(["/list/0", "nothing", r#"{"id":1,"name":"a"}"#].map(str::to_owned))
        );
        assert_eq!(part(json!({"list": [{"id": 2}]})), Some(["/list/0/id", "2", "1"].map(str::to_owned)));
    }

    #[test]
    fn long_values_are_cut_off() {
        let [_, expected, found] = of(&json!("é".repeat(500)), &json!(1), Comparison::Whole).unwrap();
        assert_eq!((expected.chars().count(), found.as_str()), (SHOWN_MAX + 1, "1"));
    }
}
