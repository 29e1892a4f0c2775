//! Type names in messages for script authors. Messages never contain the name of a Rust type.

use std::any::TypeId;
use std::ops::{Range, RangeInclusive};

use rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map};

use crate::sdk::Settings;

/// The type of a value, with its article.
pub(crate) fn type_name(value: &Dynamic) -> &'static str {
    type_name_of_id(value.type_id())
}

/// The type that Rhai's errors name `name`, with its article.
pub(crate) fn type_name_from_rhai(name: &str) -> &'static str {
    let name = name.trim().trim_start_matches("&mut ");
    match name {
        "()" => "nothing",
        "bool" => "a bool",
        "i64" | "u8" | "INT" => "an integer",
        "f64" | "f32" | "FLOAT" => "a float",
        "char" => "a character",
        "string" | "&str" | "String" | "ImmutableString" | "&str | ImmutableString | String" => "a string",
        "array" | "Array" => "an array",
        "map" | "Map" => "a map",
        "blob" | "Blob" => "a blob",
        "Fn" | "FnPtr" => "a function",
        "range" | "range=" => "a range",
        _ if name.ends_with("::String") || name.ends_with("::ImmutableString") => "a string",
        _ if name.ends_with("::FnPtr") => "a function",
        _ if name.contains("::range::Range") => "a range",
        _ if name.contains("::") => "an iterator",
        _ => "a value",
    }
}

/// The name of a Rust type, with its article.
pub(crate) fn type_name_of_id(id: TypeId) -> &'static str {
    let is = |other: TypeId| id == other;
    match id {
        _ if is(TypeId::of::<()>()) => "nothing",
        _ if is(TypeId::of::<bool>()) => "a bool",
        _ if is(TypeId::of::<i64>()) => "an integer",
        _ if is(TypeId::of::<f64>()) => "a float",
        _ if is(TypeId::of::<char>()) => "a character",
        _ if is(TypeId::of::<ImmutableString>()) => "a string",
        _ if is(TypeId::of::<Array>()) => "an array",
        _ if is(TypeId::of::<Map>()) => "a map",
        _ if is(TypeId::of::<Blob>()) => "a blob",
        _ if is(TypeId::of::<FnPtr>()) => "a function",
        _ if is(TypeId::of::<Range<i64>>()) || is(TypeId::of::<RangeInclusive<i64>>()) => "a range",
        _ if is(TypeId::of::<Settings>()) => "settings",
        _ if is(TypeId::of::<Dynamic>()) => "any value",
        // The results of `bits`, `chars` and `range`, which only a loop can use.
        _ => "an iterator",
    }
}
