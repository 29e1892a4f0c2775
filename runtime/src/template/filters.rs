//! The filters and tests of templates. Each charges its work; none takes long at once.

use std::ops::RangeInclusive;

use super::value::{
    BYTES_PER_STEP, Text, Value, ValueError, charge, charge_new_bytes, charge_new_items, escape_into,
    escaped_length,
};

type Made<T> = Result<T, ValueError>;

/// The maximum length of a text that a filter changes at once, in bytes.
const CHANGED_BYTES_MAX: usize = 1024 * 1024;

/// The maximum number of items, and of the bytes of their texts, that are sorted at once.
const SORTED_ITEMS_MAX: usize = 20_000;
const SORTED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A filter: `value | name(arguments)`.
pub(super) struct Filter {
    name: &'static str,
    /// The number of arguments.
    pub(super) arguments: RangeInclusive<usize>,
    run: for<'a, 't> fn(&'a Value<'t>, &'a [Value<'t>]) -> Made<Value<'t>>,
}

/// A test: `value is name`.
pub(super) struct Test {
    pub(super) name: &'static str,
    pub(super) has_argument: bool,
    run: fn(&Value<'_>, &Value<'_>) -> Made<bool>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl std::fmt::Debug for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The filter that replaces a value that is not defined.
pub(super) const DEFAULT: &str = "default";

/// The tests that accept a value that is not defined.
pub(super) const DEFINED: &str = "defined";
pub(super) const UNDEFINED: &str = "undefined";

macro_rules! filters {
    ($($name:literal $arguments:expr => $run:expr;)*) => {
        [$(Filter { name: $name, arguments: $arguments, run: $run },)*]
    };
}

static FILTERS: [Filter; 26] = filters! {
    "abs" 0..=0 => abs;
    "batch" 1..=1 => batch;
    "capitalize" 0..=0 => capitalize;
    "default" 1..=2 => default;
    "escape" 0..=0 => escape;
    "first" 0..=0 => |value, _| Ok(list(value)?.first().cloned().unwrap_or(Value::Nothing));
    "float" 0..=0 => float;
    "int" 0..=0 => int;
    "items" 0..=0 => items;
    "join" 0..=1 => join;
    "keys" 0..=0 => keys;
    "last" 0..=0 => |value, _| Ok(list(value)?.last().cloned().unwrap_or(Value::Nothing));
    "length" 0..=0 => length;
    "lower" 0..=0 => |value, _| mapped(value, str::to_lowercase);
    "replace" 2..=2 => replace;
    "reverse" 0..=0 => reverse;
    "round" 0..=1 => round;
    "safe" 0..=0 => |value, _| Ok(Value::Text(scalar(value)?.safe(true)));
    "sort" 0..=1 => sort;
    "sum" 0..=0 => sum;
    "title" 0..=0 => title;
    "tojson" 0..=0 => super::json::filter;
    "trim" 0..=0 => |value, _| mapped(value, |text| text.trim().to_owned());
    "truncate" 1..=2 => truncate;
    "upper" 0..=0 => |value, _| mapped(value, str::to_uppercase);
    "urlencode" 0..=0 => urlencode;
};

/// Other names of filters, from Jinja.
const ALIASES: [(&str, &str); 3] = [("e", "escape"), ("d", DEFAULT), ("count", "length")];

static TESTS: [Test; 14] = [
    Test { name: DEFINED, has_argument: false, run: |_, _| Ok(true) },
    Test { name: "divisibleby", has_argument: true, run: divisible },
    Test { name: "even", has_argument: false, run: |value, _| Ok(whole(value)? % 2 == 0) },
    Test { name: "false", has_argument: false, run: |value, _| Ok(matches!(value, Value::Bool(false))) },
    Test { name: "float", has_argument: false, run: |value, _| Ok(matches!(value, Value::Float(_))) },
    Test { name: "integer", has_argument: false, run: |value, _| Ok(matches!(value, Value::Integer(_))) },
    Test {
        name: "iterable",
        has_argument: false,
        run: |value, _| Ok(matches!(value, Value::List(_) | Value::Map(_))),
    },
    Test { name: "mapping", has_argument: false, run: |value, _| Ok(matches!(value, Value::Map(_))) },
    Test { name: "none", has_argument: false, run: |value, _| Ok(matches!(value, Value::Nothing)) },
    Test {
        name: "number",
        has_argument: false,
        run: |value, _| Ok(matches!(value, Value::Integer(_) | Value::Float(_))),
    },
    Test { name: "odd", has_argument: false, run: |value, _| Ok(whole(value)? % 2 != 0) },
    Test { name: "string", has_argument: false, run: |value, _| Ok(matches!(value, Value::Text(_))) },
    Test { name: "true", has_argument: false, run: |value, _| Ok(matches!(value, Value::Bool(true))) },
    Test { name: UNDEFINED, has_argument: false, run: |_, _| Ok(false) },
];

pub(super) fn filter(name: &str) -> Option<&'static Filter> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, of)| of);
    FILTERS.iter().find(|filter| filter.name == name)
}

pub(super) fn filter_names() -> impl Iterator<Item = &'static str> + Clone {
    FILTERS.iter().map(|filter| filter.name)
}

pub(super) fn test(name: &str) -> Option<&'static Test> {
    TESTS.iter().find(|test| test.name == name)
}

pub(super) fn test_names() -> impl Iterator<Item = &'static str> + Clone {
    TESTS.iter().map(|test| test.name)
}

impl Filter {
    pub(super) fn is_default(&self) -> bool {
        self.name == DEFAULT
    }

    pub(super) fn apply<'t>(&self, value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
        (self.run)(value, arguments).map_err(|error| prefixed("filter", self.name, error))
    }
}

impl Test {
    pub(super) fn apply(&self, value: &Value<'_>, argument: &Value<'_>) -> Made<bool> {
        (self.run)(value, argument).map_err(|error| prefixed("test", self.name, error))
    }
}

fn prefixed(what: &str, name: &str, error: ValueError) -> ValueError {
    match error {
        ValueError::Invalid(message) => ValueError::Invalid(format!("{what} `{name}`: {message}")),
        stopped @ ValueError::Stopped => stopped,
    }
}

fn invalid<T>(message: impl Into<String>) -> Made<T> {
    Err(ValueError::Invalid(message.into()))
}

/// The text of a value that is no list or map.
fn scalar<'t>(value: &Value<'t>) -> Made<Text<'t>> {
    value.scalar_text().map_or_else(|| invalid(format!("expected a string, not {}", value.kind())), Ok)
}

/// A text that a filter changes at once.
fn changed<'t>(value: &Value<'t>) -> Made<Text<'t>> {
    let text = scalar(value)?;
    if text.as_str().len() > CHANGED_BYTES_MAX {
        return invalid("the string is longer than 1 MiB");
    }
    Ok(text)
}

/// The beginning of a text, on one line.
fn quoted(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

fn list<'a, 't>(value: &'a Value<'t>) -> Made<&'a [Value<'t>]> {
    match value {
        Value::List(list) => Ok(&list.items),
        value => invalid(format!("expected an array, not {}", value.kind())),
    }
}

fn whole(value: &Value<'_>) -> Made<i64> {
    match value {
        Value::Integer(integer) => Ok(*integer),
        value => invalid(format!("expected an integer, not {}", value.kind())),
    }
}

/// A text changed as a whole. The result can be three times as long, and is not safe HTML any more.
fn mapped<'t>(value: &Value<'t>, change: impl FnOnce(&str) -> String) -> Made<Value<'t>> {
    let text = changed(value)?;
    charge_new_bytes(text.as_str().len().saturating_mul(4))?;
    Ok(Value::text(change(text.as_str())))
}

fn abs<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    match value {
        Value::Integer(integer) => Ok(Value::Integer(integer.saturating_abs())),
        Value::Float(float) => Ok(Value::Float(float.abs())),
        value => invalid(format!("expected a number, not {}", value.kind())),
    }
}

/// Groups the items of a list by a number.
fn batch<'t>(value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
    let items = list(value)?;
    let size = match arguments.first().map(whole).transpose()? {
        Some(size) if size > 0 => usize::try_from(size).unwrap_or(usize::MAX),
        _ => return invalid("the size must be at least 1"),
    };
    charge_new_items(items.len() + items.len() / size)?;
    let groups = items.chunks(size).map(|group| Value::list(group.to_vec()));
    Value::list(groups.collect::<Made<_>>()?)
}

fn capitalize<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    mapped(value, |text| {
        let mut characters = text.chars();
        let first = characters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(characters.as_str().to_lowercase().chars()).collect()
    })
}

/// Replaces `()`, and with a second argument of `true` everything that counts as false.
fn default<'t>(value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
    let other = arguments.first().cloned().unwrap_or(Value::Nothing);
    let replaces_false = arguments.get(1).is_some_and(Value::is_true);
    let is_absent = matches!(value, Value::Nothing) || (replaces_false && !value.is_true());
    Ok(if is_absent { other } else { value.clone() })
}

fn escape<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    let text = scalar(value)?;
    if text.is_safe {
        return Ok(Value::Text(text));
    }
    super::render::limit_length(text.as_str().len())?;
    let length = escaped_length(text.as_str());
    charge_new_bytes(length)?;
    let mut escaped = String::with_capacity(length);
    escape_into(text.as_str(), &mut escaped);
    Ok(Value::Text(Text::shared(escaped).safe(true)))
}

fn float<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    match value {
        Value::Integer(integer) => Ok(Value::Float(*integer as f64)),
        Value::Float(float) => Ok(Value::Float(*float)),
        Value::Text(text) => match text.as_str().get(..64).unwrap_or(text.as_str()).trim().parse() {
            Ok(float) => Ok(Value::Float(float)),
            Err(_) => invalid("the string is not a number"),
        },
        value => invalid(format!("expected a number, not {}", value.kind())),
    }
}

fn int<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    match value {
        Value::Integer(integer) => Ok(Value::Integer(*integer)),
        // Casts saturate.
        Value::Float(float) => Ok(Value::Integer(*float as i64)),
        Value::Text(text) => match text.as_str().get(..64).unwrap_or(text.as_str()).trim().parse() {
            Ok(integer) => Ok(Value::Integer(integer)),
            Err(_) => invalid("the string is not an integer"),
        },
        value => invalid(format!("expected a number, not {}", value.kind())),
    }
}

/// The entries of a map as lists of key and value.
fn items<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    let Value::Map(map) = value else { return invalid(format!("expected a map, not {}", value.kind())) };
    charge_new_items(map.entries.len().saturating_mul(3))?;
    let pairs = map.entries.iter().map(|(key, value)| {
        charge(8 + key.len() / BYTES_PER_STEP)?;
        Value::list(vec![Value::text(key.as_str()), value.clone()])
    });
    Value::list(pairs.collect::<Made<_>>()?)
}

fn keys<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    let Value::Map(map) = value else { return invalid(format!("expected a map, not {}", value.kind())) };
    charge_new_items(map.entries.len())?;
    let keys = map.entries.iter().map(|(key, _)| {
        charge(8 + key.len() / BYTES_PER_STEP)?;
        Ok(Value::text(key.as_str()))
    });
    Value::list(keys.collect::<Made<_>>()?)
}

/// Joins texts. If one of them is safe HTML, the others are escaped.
fn join<'t>(value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
    let separator = match arguments.first() {
        Some(separator) => scalar(separator)?,
        None => Text::literal(""),
    };
    let items = list(value)?;
    charge_new_items(items.len())?;
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        charge(2)?;
        texts.push(scalar(item)?);
    }
    let is_safe = separator.is_safe || texts.iter().any(|text| text.is_safe);
    let length = |text: &Text<'_>| match is_safe && !text.is_safe {
        true => escaped_length(text.as_str()),
        false => text.as_str().len(),
    };
    let mut total = length(&separator).saturating_mul(texts.len());
    for text in &texts {
        super::render::limit_length(total)?;
        charge(text.as_str().len() / BYTES_PER_STEP)?;
        total = total.saturating_add(length(text));
    }
    super::render::limit_length(total)?;
    charge_new_bytes(total)?;
    let mut joined = String::with_capacity(total);
    for (index, text) in texts.iter().enumerate() {
        for text in (index > 0).then_some(&separator).into_iter().chain([text]) {
            if is_safe && !text.is_safe {
                escape_into(text.as_str(), &mut joined);
            } else {
                joined.push_str(text.as_str());
            }
        }
    }
    Ok(Value::Text(Text::shared(joined).safe(is_safe)))
}

fn length<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    let length = match value {
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Text(text) => {
            charge(text.as_str().len() / BYTES_PER_STEP)?;
            text.as_str().chars().count()
        }
        value => return invalid(format!("{} has no length", value.kind())),
    };
    Ok(Value::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn replace<'t>(value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
    let text = changed(value)?;
    let [from, to] = arguments else { return invalid("expected two arguments") };
    let (from, to) = (scalar(from)?, scalar(to)?);
    if from.as_str().is_empty() {
        return invalid("the text to replace is empty");
    }
    charge((text.as_str().len() + from.as_str().len()) / 4)?;
    let found = text.as_str().matches(from.as_str()).count();
    let length = text.as_str().len().saturating_add(found.saturating_mul(to.as_str().len()));
    super::render::limit_length(length)?;
    charge_new_bytes(length)?;
    Ok(Value::text(text.as_str().replace(from.as_str(), to.as_str())))
}

fn reverse<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    let items = list(value)?;
    charge_new_items(items.len())?;
    Value::list(items.iter().rev().cloned().collect())
}

/// Rounds to digits after the point; without them to an integer.
fn round<'t>(value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
    let digits = arguments.first().map(whole).transpose()?;
    let float = match value {
        Value::Integer(integer) => return Ok(Value::Integer(*integer)),
        Value::Float(float) => *float,
        value => return invalid(format!("expected a number, not {}", value.kind())),
    };
    match digits {
        None => Ok(Value::Integer(float.round() as i64)),
        Some(digits @ 0..=15) => {
            Ok(Value::text(format!("{float:.0$}", usize::try_from(digits).unwrap_or(0))))
        }
        Some(_) => invalid("digits must be between 0 and 15"),
    }
}

/// Sorts numbers or texts, or maps by the value of a key. The sort itself cannot be interrupted, so it is bounded.
fn sort<'t>(value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
    let key = arguments.first().map(scalar).transpose()?;
    let items = list(value)?;
    if items.len() > SORTED_ITEMS_MAX {
        return invalid(format!("more than {SORTED_ITEMS_MAX} items; sort them in the script"));
    }
    charge_new_items(items.len().saturating_mul(2))?;
    let (mut numbers, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        charge(32)?;
        let by = match &key {
            None => item.clone(),
            Some(key) => match item.get(key.as_str()) {
                Some(by) => by,
                None => return invalid(format!("an item has no key `{}`", quoted(key.as_str()))),
            },
        };
        match by {
            Value::Integer(integer) => numbers.push((integer as f64, integer, item)),
            Value::Float(float) => numbers.push((float, 0, item)),
            Value::Text(text) => {
                bytes += text.as_str().len();
                texts.push((text, item));
            }
            by => return invalid(format!("expected numbers or strings, not {}", by.kind())),
        }
    }
    if !numbers.is_empty() && !texts.is_empty() {
        return invalid("cannot compare numbers with strings");
    }
    if bytes > SORTED_BYTES_MAX {
        return invalid("the strings are too long; sort them in the script");
    }
    numbers.sort_by(|(a, a_integer, _), (b, b_integer, _)| a.total_cmp(b).then(a_integer.cmp(b_integer)));
    texts.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    let numbers = numbers.into_iter().map(|(_, _, item)| item.clone());
    Value::list(numbers.chain(texts.into_iter().map(|(_, item)| item.clone())).collect())
}

fn sum<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    let (mut whole, mut float, mut is_float) = (0_i64, 0.0, false);
    for item in list(value)? {
        charge(1)?;
        match item {
            Value::Integer(integer) => {
                float += *integer as f64;
                whole = match whole.checked_add(*integer) {
                    Some(sum) => sum,
                    None => return invalid("the sum does not fit into 64 bits"),
                };
            }
            Value::Float(item) => {
                is_float = true;
                float += item;
            }
            item => return invalid(format!("expected numbers, not {}", item.kind())),
        }
    }
    Ok(if is_float { Value::Float(float) } else { Value::Integer(whole) })
}

fn title<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    mapped(value, |text| {
        let mut titled = String::with_capacity(text.len());
        let mut begins = true;
        for character in text.chars() {
            if begins {
                titled.extend(character.to_uppercase());
            } else {
                titled.extend(character.to_lowercase());
            }
            begins = !character.is_alphanumeric() && character != '\'';
        }
        titled
    })
}

/// The first characters of a text, and `…` if there are more.
fn truncate<'t>(value: &Value<'t>, arguments: &[Value<'t>]) -> Made<Value<'t>> {
    let text = scalar(value)?;
    let most = match arguments.first().map(whole).transpose()? {
        Some(most) if most >= 0 => usize::try_from(most).unwrap_or(usize::MAX),
        _ => return invalid("the length cannot be negative"),
    };
    let end = match arguments.get(1) {
        Some(end) => scalar(end)?,
        None => Text::literal("…"),
    };
    charge_new_bytes(text.as_str().len() + end.as_str().len())?;
    Ok(match text.as_str().char_indices().nth(most) {
        Some((at, _)) => Value::text(format!("{}{}", &text.as_str()[..at], end.as_str())),
        None => Value::Text(text),
    })
}

/// Percent-encodes a text for a query.
fn urlencode<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let text = changed(value)?;
    let length = text.as_str().len().saturating_mul(3);
    super::render::limit_length(length)?;
    charge_new_bytes(length)?;
    let mut encoded = String::with_capacity(length);
    for byte in text.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Ok(Value::text(encoded))
}

fn divisible(value: &Value<'_>, by: &Value<'_>) -> Made<bool> {
    let (value, by) = (whole(value)?, whole(by)?);
    match value.checked_rem(by) {
        Some(rest) => Ok(rest == 0),
        None => invalid("division by zero"),
    }
}
