//! TOML values as JSON.

use serde_json::{Map, Number, Value as Json};
use toml::Spanned;
use toml::de::DeValue;

use super::Value;
use crate::diagnostic::quoted;
use crate::source::Source;

impl Value<'_> {
    /// The value as JSON, or a diagnostic about the first part without a form in JSON.
    pub(crate) fn json(self, source: &mut Source<'_>) -> Option<Json> {
        json(self.inner, source)
    }
}

fn json(value: &Spanned<DeValue<'_>>, source: &mut Source<'_>) -> Option<Json> {
    let number = |number: Option<Number>, source: &mut Source<'_>| match number {
        Some(number) => Some(Json::Number(number)),
        None => {
            let written = source.text().get(value.span()).unwrap_or_default();
            let message = format!("{} is no number of JSON", quoted(written));
            source.error(value.span(), message);
            None
        }
    };
    match value.get_ref() {
        DeValue::String(text) => Some(Json::String(text.clone().into_owned())),
        DeValue::Boolean(boolean) => Some(Json::Bool(*boolean)),
        DeValue::Integer(integer) => {
            let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
            number(parsed.ok().map(Number::from), source)
        }
        DeValue::Float(float) => number(float.as_str().parse().ok().and_then(Number::from_f64), source),
        DeValue::Datetime(_) => {
            let written = source.text().get(value.span()).unwrap_or_default().to_owned();
            let help = format!("write `\"{written}\"`");
            source.error_with(value.span(), "JSON has no dates".to_owned(), Some(help));
            None
        }
        DeValue::Array(items) => {
            items.iter().map(|item| json(item, source)).collect::<Option<Vec<_>>>().map(Json::Array)
        }
        DeValue::Table(entries) => {
            let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                Some((key.get_ref().clone().into_owned(), json(value, source)?))
            };
            entries.iter().map(entry).collect::<Option<Map<_, _>>>().map(Json::Object)
        }
    }
}
