//! The filter `tojson`: a value as JSON that can stand in a `script` element and in an attribute.

use super::value::{BYTES_PER_STEP, Text, Value, ValueError, charge, charge_new_bytes};

type Made<T> = Result<T, ValueError>;

/// The JSON of a value, as safe text.
pub(super) fn filter<'t>(value: &Value<'t>, _: &[Value<'t>]) -> Made<Value<'t>> {
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(Value::Text(Text::shared(out).safe(true)))
}

fn write(value: &Value<'_>, out: &mut String) -> Made<()> {
    charge(4)?;
    match value {
        Value::Nothing => push("null", out),
        Value::Bool(bool) => push(if *bool { "true" } else { "false" }, out),
        Value::Integer(integer) => push(&integer.to_string(), out),
        Value::Float(float) if float.is_finite() => push(&super::value::float_text(*float), out),
        Value::Text(text) => string(text.as_str(), out),
        Value::List(list) => {
            push("[", out)?;
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    push(",", out)?;
                }
                write(item, out)?;
            }
            push("]", out)
        }
        Value::Map(map) => {
            push("{", out)?;
            for (index, (key, value)) in map.entries.iter().enumerate() {
                if index > 0 {
                    push(",", out)?;
                }
                string(key, out)?;
                push(":", out)?;
                write(value, out)?;
            }
            push("}", out)
        }
        Value::Float(_) | Value::Loop(_) => {
            Err(ValueError::Invalid(format!("{} cannot be converted to JSON", value.kind())))
        }
    }
}

fn push(text: &str, out: &mut String) -> Made<()> {
    super::render::grow(out, text.len())?;
    out.push_str(text);
    Ok(())
}

/// Besides what JSON requires, escapes what HTML gives a meaning.
fn string(text: &str, out: &mut String) -> Made<()> {
    super::render::limit_length(text.len())?;
    charge(text.len() / BYTES_PER_STEP)?;
    let escaped = |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | b'\'' | 0x7f);
    let length = text.len() + 2 + text.bytes().filter(|byte| escaped(*byte)).count() * 5;
    charge_new_bytes(length)?;
    super::render::grow(out, length)?;
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| escaped(*byte)) {
        out.push_str(&text[copied..at]);
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
    out.push('"');
    Ok(())
}
