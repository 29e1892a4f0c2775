//! Functions that walk into arrays and maps, bounded in depth.

use std::fmt::Write as _;

use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContext};

use super::{Outcome, STRING_MAX, fails, too_large};
use crate::json::DEPTH_MAX;

const EQUALS: &str = "==";

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("==", |context: NativeCallContext<'_>, a: &mut Array, b: Array| {
            arrays_equal(&context, a, &b, 0)
        })
        .register_fn("!=", |context: NativeCallContext<'_>, a: &mut Array, b: Array| {
            arrays_equal(&context, a, &b, 0).map(|equal| !equal)
        })
        .register_fn("==", |context: NativeCallContext<'_>, a: &mut Map, b: Map| {
            maps_equal(&context, a, &b, 0)
        })
        .register_fn("!=", |context: NativeCallContext<'_>, a: &mut Map, b: Map| {
            maps_equal(&context, a, &b, 0).map(|equal| !equal)
        })
        .register_fn("to_debug", |array: &mut Array| printed(|out| array_into(array, out, 0)))
        .register_fn("to_debug", |map: &mut Map| printed(|out| map_into(map, out, 0)))
        .register_fn("to_string", |array: &mut Array| printed(|out| array_into(array, out, 0)))
        .register_fn("to_string", |map: &mut Map| printed(|out| map_into(map, out, 0)));
}

fn arrays_equal(context: &NativeCallContext<'_>, a: &Array, b: &Array, depth: usize) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !values_equal(context, a, b, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal(context: &NativeCallContext<'_>, a: &Map, b: &Map, depth: usize) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for ((a_key, a), (b_key, b)) in a.iter().zip(b) {
        if a_key != b_key || !values_equal(context, a, b, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn values_equal(context: &NativeCallContext<'_>, a: &Dynamic, b: &Dynamic, depth: usize) -> Outcome<bool> {
    if depth > DEPTH_MAX {
        return fails(format!("values nested deeper than {DEPTH_MAX} levels cannot be compared"));
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
        return arrays_equal(context, &a, &b, depth);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Map>(), b.read_lock::<Map>()) {
        return maps_equal(context, &a, &b, depth);
    }
    // All else compares as it does by itself; values of types that do not compare are different.
    match context.call_native_fn_raw(EQUALS, true, &mut [&mut a.clone(), &mut b.clone()]) {
        Ok(equal) => Ok(equal.as_bool().unwrap_or(false)),
        Err(error) => match *error {
            EvalAltResult::ErrorFunctionNotFound(..) if a.type_id() != b.type_id() => Ok(false),
            _ => Err(error),
        },
    }
}

/// Rhai's form of a value for people; what is nested too deeply is left out.
fn printed(print: impl FnOnce(&mut String) -> Outcome<()>) -> Outcome<String> {
    let mut out = String::new();
    print(&mut out)?;
    Ok(out)
}

fn value_into(value: &Dynamic, out: &mut String, depth: usize) -> Outcome<()> {
    if out.len() > STRING_MAX {
        return too_large("Length of string");
    }
    if depth > DEPTH_MAX {
        out.push_str("...");
    } else if let Some(array) = value.read_lock::<Array>() {
        array_into(&array, out, depth)?;
    } else if let Some(map) = value.read_lock::<Map>() {
        map_into(&map, out, depth)?;
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        // By name only: what it captured may be as deep as memory is large. Writing to a string does not fail.
        let _ = write!(out, "Fn({})", function.fn_name());
    } else {
        let _ = write!(out, "{value:?}");
    }
    Ok(())
}

fn array_into(array: &Array, out: &mut String, depth: usize) -> Outcome<()> {
    out.push('[');
    for (index, item) in array.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        value_into(item, out, depth + 1)?;
    }
    out.push(']');
    Ok(())
}

fn map_into(map: &Map, out: &mut String, depth: usize) -> Outcome<()> {
    out.push_str("#{");
    for (index, (key, item)) in map.iter().enumerate() {
        let _ = write!(out, "{}{key:?}: ", if index == 0 { "" } else { ", " });
        value_into(item, out, depth + 1)?;
    }
    out.push('}');
    Ok(())
}
