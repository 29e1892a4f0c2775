//! The parameters of a header value: `form-data; name="a"` (RFC 9110 section 5.6.6).

use std::borrow::Cow;

/// The parameters are not what the grammar allows, or one of them occurs twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedParameters;

/// The value before the first `;`, without spaces around it.
pub(super) fn essence(value: &str) -> &str {
    value.split_once(';').map_or(value, |(essence, _)| essence).trim()
}

/// The parameters of a header value, by name as written.
pub(super) fn parameters(value: &str) -> Result<Vec<(&str, Cow<'_, str>)>, MalformedParameters> {
    let mut parameters = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Ok(parameters);
        }
        let (name, after) = rest.split_once('=').ok_or(MalformedParameters)?;
        let value = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = unquote(quoted).ok_or(MalformedParameters)?;
                rest = after.trim_start_matches([' ', '\t']);
                if !rest.is_empty() && !rest.starts_with(';') {
                    return Err(MalformedParameters);
                }
                value
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                rest = &after[end..];
                Cow::Borrowed(after[..end].trim())
            }
        };
        parameters.push((name.trim(), value));
    }
}

/// The value of a parameter, if it is there. Of several, readers would take different ones.
pub(super) fn parameter<'p>(
    parameters: &'p [(&str, Cow<'_, str>)],
    name: &str,
) -> Result<Option<&'p str>, MalformedParameters> {
    let mut values = parameters.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value.as_ref());
    if values.next().is_some() { Err(MalformedParameters) } else { Ok(value) }
}

/// The text up to the closing quote, and what follows. Only `\"` and `\\` are escapes: browsers write file names with
/// other backslashes as they are.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut unescaped = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_at(rest.find(['"', '\\'])?);
        if let Some(after) = after.strip_prefix('"') {
            if unescaped.is_empty() {
                return Some((Cow::Borrowed(before), after));
            }
            unescaped.push_str(before);
            return Some((Cow::Owned(unescaped), after));
        }
        unescaped.push_str(before);
        let escaped = &after[1..];
        rest = match escaped.chars().next() {
            Some(character @ ('"' | '\\')) => {
                unescaped.push(character);
                &escaped[1..]
            }
            _ => {
                unescaped.push('\\');
                escaped
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &str) -> Option<Vec<(&str, String)>> {
        let parameters = parameters(value).ok()?;
        Some(parameters.into_iter().map(|(name, value)| (name, value.into_owned())).collect())
    }

    fn pairs<'a>(pairs: &[(&'a str, &str)]) -> Option<Vec<(&'a str, String)>> {
        Some(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    #[test]
    fn parameters_are_tokens_or_quoted() {
        assert_eq!(essence(" form-data ; name=a"), "form-data");
        assert_eq!(all("form-data"), pairs(&[]));
        assert_eq!(all("x; Name=a ;b=\"c;d\" ; e=;"), pairs(&[("Name", "a"), ("b", "c;d"), ("e", "")]));
        assert_eq!(
            all(r#"x; a="1\"2\\3"; b="C:\dir\new""#),
            pairs(&[("a", r#"1"2\3"#), ("b", r"C:\dir\new")])
        );
        assert_eq!(all("x; a=\"\""), pairs(&[("a", "")]));
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for value in ["x; a", "x; a=\"", "x; a=\"b\\\"", "x; a=\"b\"c", "x; a=\"b\" c=d"] {
            assert_eq!(all(value), None, "{value}");
        }
    }

    #[test]
    fn repeated_parameter_is_malformed() {
        let parameters = parameters("x; a=1; A=2; b=3").unwrap();
        assert_eq!(parameter(&parameters, "a"), Err(MalformedParameters));
        assert_eq!(parameter(&parameters, "B"), Ok(Some("3")));
        assert_eq!(parameter(&parameters, "c"), Ok(None));
    }
}
