//! The values of a template, and their conversion from the values of a script.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::rc::Rc;

use rhai::{Array, Dynamic, Identifier, ImmutableString, Map};

use crate::run_context;
use crate::sdk::Settings;
use crate::type_name::type_name;

/// The maximum nesting of lists and maps, the same as in JSON.
pub(super) const DEPTH_MAX: usize = crate::json::DEPTH_MAX;

/// The bytes that cost as much as visiting one value.
pub(super) const BYTES_PER_STEP: usize = 16;

#[derive(Clone, Debug)]
pub(super) enum Value<'t> {
    Nothing,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Text<'t>),
    List(Rc<List<'t>>),
    Map(Rc<Table<'t>>),
    Loop(Loop),
}

/// A text; a safe one is HTML, and is not escaped when it is written.
#[derive(Clone, Debug)]
pub(super) struct Text<'t> {
    content: Content<'t>,
    pub(super) is_safe: bool,
}

#[derive(Clone, Debug)]
enum Content<'t> {
    Literal(&'t str),
    Shared(ImmutableString),
}

#[derive(Debug)]
pub(super) struct List<'t> {
    pub(super) items: Vec<Value<'t>>,
    depth: usize,
}

/// A map, sorted by key.
#[derive(Debug)]
pub(super) struct Table<'t> {
    pub(super) entries: Vec<(Identifier, Value<'t>)>,
    depth: usize,
}

/// `loop`
#[derive(Clone, Copy, Debug)]
pub(super) struct Loop {
    pub(super) index: usize,
    pub(super) length: usize,
}

/// Why a value cannot be made.
#[derive(Debug)]
pub(super) enum ValueError {
    /// The execution must stop.
    Stopped,
    Invalid(String),
}

type Made<T> = Result<T, ValueError>;

impl<'t> Text<'t> {
    pub(super) fn literal(text: &'t str) -> Self {
        Self { content: Content::Literal(text), is_safe: false }
    }

    pub(super) fn shared(text: impl Into<ImmutableString>) -> Self {
        Self { content: Content::Shared(text.into()), is_safe: false }
    }

    pub(super) fn safe(self, is_safe: bool) -> Self {
        Self { is_safe, ..self }
    }

    pub(super) fn as_str(&self) -> &str {
        match &self.content {
            Content::Literal(text) => text,
            Content::Shared(text) => text.as_str(),
        }
    }
}

impl<'t> Value<'t> {
    pub(super) fn text(text: impl Into<ImmutableString>) -> Self {
        Self::Text(Text::shared(text))
    }

    /// A list of these items.
    ///
    /// # Errors
    /// It is nested too deep.
    pub(super) fn list(items: Vec<Self>) -> Made<Self> {
        let depth = items.iter().map(Self::depth).max().unwrap_or_default() + 1;
        check_depth(depth)?;
        Ok(Self::List(Rc::new(List { items, depth })))
    }

    /// A map of these entries, which are sorted here; of equal keys the last one counts.
    ///
    /// # Errors
    /// It is nested too deep.
    pub(super) fn map(mut entries: Vec<(Identifier, Self)>) -> Made<Self> {
        entries.reverse();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|(a, _), (b, _)| a == b);
        let depth = entries.iter().map(|(_, value)| value.depth()).max().unwrap_or_default() + 1;
        check_depth(depth)?;
        Ok(Self::Map(Rc::new(Table { entries, depth })))
    }

    fn depth(&self) -> usize {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
            _ => 0,
        }
    }

    /// The kind with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Map(_) => "a map",
            Self::Loop(_) => "`loop`",
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bool(bool) => *bool,
            Self::Integer(integer) => *integer != 0,
            Self::Float(float) => *float != 0.0,
            Self::Text(text) => !text.as_str().is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Loop(_) => true,
        }
    }

    /// The value of a key or a property.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        match self {
            Self::Map(map) => map.get(name).cloned(),
            Self::Loop(repeated) => repeated.get(name),
            _ => None,
        }
    }

    /// The text as it is written; `None` for lists and maps, which have none.
    pub(super) fn scalar_text(&self) -> Option<Text<'t>> {
        match self {
            Self::Nothing => Some(Text::literal("")),
            Self::Bool(bool) => Some(Text::literal(if *bool { "true" } else { "false" })),
            Self::Integer(integer) => Some(Text::shared(integer.to_string())),
            Self::Float(float) => Some(Text::shared(float_text(*float))),
            Self::Text(text) => Some(text.clone()),
            Self::List(_) | Self::Map(_) | Self::Loop(_) => None,
        }
    }

    fn as_float(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }
}

impl Table<'_> {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(key, _)| key.as_str().cmp(name))
    }
}

impl<'t> Table<'t> {
    pub(super) fn get(&self, name: &str) -> Option<&Value<'t>> {
        self.place(name).ok().and_then(|place| self.entries.get(place)).map(|(_, value)| value)
    }
}

impl Loop {
    pub(super) const NAMES: [&'static str; 7] =
        ["index", "index0", "revindex", "revindex0", "first", "last", "length"];

    fn get<'t>(self, name: &str) -> Option<Value<'t>> {
        let integer = |value: usize| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
        Some(match name {
            "index" => integer(self.index + 1),
            "index0" => integer(self.index),
            "revindex" => integer(self.length - self.index),
            "revindex0" => integer(self.length - self.index - 1),
            "first" => Value::Bool(self.index == 0),
            "last" => Value::Bool(self.index + 1 == self.length),
            "length" => integer(self.length),
            _ => return None,
        })
    }
}

fn check_depth(depth: usize) -> Made<()> {
    if depth > DEPTH_MAX {
        return Err(ValueError::Invalid(format!("values are nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(())
}

/// A float as scripts print it, with a fraction.
pub(super) fn float_text(float: f64) -> String {
    if float.fract() == 0.0 && float.abs() < 1e16 { format!("{float:.1}") } else { float.to_string() }
}

/// Charges small steps of work.
pub(super) fn charge(steps: usize) -> Made<()> {
    run_context::charge(steps).map_or(Ok(()), |_| Err(ValueError::Stopped))
}

/// Charges reading or writing bytes, and reserves memory for them if they are many.
pub(super) fn charge_new_bytes(bytes: usize) -> Made<()> {
    const UNRESERVED_MAX: usize = 16 * 1024;
    charge(1 + bytes / BYTES_PER_STEP)?;
    if bytes > UNRESERVED_MAX && run_context::reserve(bytes).is_some() {
        return Err(ValueError::Stopped);
    }
    Ok(())
}

/// Charges a new list of this length.
pub(super) fn charge_new_items(items: usize) -> Made<()> {
    charge_new_bytes(items.saturating_mul(size_of::<(Identifier, Value<'_>)>()))
}

/// Converts a value of a script. Strings are shared, everything else is copied.
///
/// # Errors
/// A part has no form in templates, it is nested too deep, or the execution must stop.
pub(super) fn convert<'t>(value: &Dynamic, path: &mut String, depth: usize) -> Made<Value<'t>> {
    charge(4)?;
    check_depth(depth)?;
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(Value::Text(Text::shared(text.clone())));
    }
    if let Ok(integer) = value.as_int() {
        return Ok(Value::Integer(integer));
    }
    if let Some(map) = value.read_lock::<Map>() {
        charge_new_items(map.len())?;
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map.iter() {
            charge_new_bytes(key.len())?;
            let length = path.len();
            let _ = write!(path, "{}{key}", if length == 0 { "" } else { "." });
            entries.push((key.clone(), convert(value, path, depth + 1)?));
            path.truncate(length);
        }
        return Value::map(entries);
    }
    if let Some(array) = value.read_lock::<Array>() {
        charge_new_items(array.len())?;
        let mut items = Vec::with_capacity(array.len());
        for (index, value) in array.iter().enumerate() {
            let length = path.len();
            let _ = write!(path, "[{index}]");
            items.push(convert(value, path, depth + 1)?);
            path.truncate(length);
        }
        return Value::list(items);
    }
    if value.is_unit() {
        return Ok(Value::Nothing);
    }
    if let Ok(bool) = value.as_bool() {
        return Ok(Value::Bool(bool));
    }
    if let Ok(float) = value.as_float() {
        return Ok(Value::Float(float));
    }
    if let Ok(character) = value.as_char() {
        return Ok(Value::text(character.to_string()));
    }
    if let Some(settings) = value.read_lock::<Settings>() {
        let entries = settings.entries().map_err(|error| ValueError::Invalid(error.to_string()))?;
        let entries = entries.map(|(name, value)| (name.into(), Value::text(value)));
        return Value::map(entries.collect());
    }
    let path: String = path.chars().take(80).collect();
    let kind = type_name(value);
    let message = match path.as_str() {
        "" => format!("`data` is {kind}, which templates cannot read"),
        path => format!("`{}` in `data` is {kind}, which templates cannot read", path.escape_debug()),
    };
    Err(ValueError::Invalid(message))
}

/// Whether two values are equal.
///
/// # Errors
/// The execution must stop.
pub(super) fn equal(a: &Value<'_>, b: &Value<'_>) -> Made<bool> {
    charge(1)?;
    Ok(match (a, b) {
        (Value::Nothing, Value::Nothing) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => equal_text(a.as_str(), b.as_str())?,
        (Value::Integer(a), Value::Integer(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            if Rc::ptr_eq(a, b) {
                return Ok(true);
            }
            if a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => {
            if Rc::ptr_eq(a, b) {
                return Ok(true);
            }
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for ((a_key, a), (b_key, b)) in a.entries.iter().zip(&b.entries) {
                if !equal_text(a_key, b_key)? || !equal(a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => a.as_float().zip(b.as_float()).is_some_and(|(a, b)| a == b),
    })
}

fn equal_text(a: &str, b: &str) -> Made<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    charge(a.len() / BYTES_PER_STEP)?;
    Ok(a == b)
}

/// The order of two numbers or two texts.
///
/// # Errors
/// They have none, or the execution must stop.
pub(super) fn order(a: &Value<'_>, b: &Value<'_>) -> Made<Ordering> {
    charge(1)?;
    if let (Value::Integer(a), Value::Integer(b)) = (a, b) {
        return Ok(a.cmp(b));
    }
    if let (Value::Text(a), Value::Text(b)) = (a, b) {
        charge(a.as_str().len().min(b.as_str().len()) / BYTES_PER_STEP)?;
        return Ok(a.as_str().cmp(b.as_str()));
    }
    match a.as_float().zip(b.as_float()) {
        Some((a, b)) => Ok(a.total_cmp(&b)),
        None => Err(ValueError::Invalid(format!("cannot compare {} with {}", a.kind(), b.kind()))),
    }
}

/// Whether `container` contains `value`.
///
/// # Errors
/// It is no container, or the execution must stop.
pub(super) fn contains(container: &Value<'_>, value: &Value<'_>) -> Made<bool> {
    match (container, value) {
        (Value::Text(text), Value::Text(part)) => {
            charge(1 + (text.as_str().len() + part.as_str().len()) / 4)?;
            Ok(text.as_str().contains(part.as_str()))
        }
        (Value::List(list), _) => {
            for item in &list.items {
                if equal(item, value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Map(map), Value::Text(key)) => {
            charge(4)?;
            Ok(map.get(key.as_str()).is_some())
        }
        _ => Err(ValueError::Invalid(format!("cannot look for {} in {}", value.kind(), container.kind()))),
    }
}

/// Appends a text with the characters escaped that HTML gives a meaning.
pub(super) fn escape_into(text: &str, out: &mut String) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        out.push_str(escaped);
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
}

/// The length of an escaped text.
pub(super) fn escaped_length(text: &str) -> usize {
    let more = text.bytes().map(|byte| match byte {
        b'<' | b'>' => 3,
        b'&' | b'\'' => 4,
        b'"' => 5,
        _ => 0,
    });
    text.len() + more.sum::<usize>()
}
