//! Functions that walk arrays and maps, limited in depth and in the size of their result.

use std::fmt::{self, Write as _};

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Map, Module, NativeCallContext};

use super::arrays::{index_or_none, start_of};
use super::{Outcome, STRING_MAX, charge, count_operation, fail, register_pure};
use crate::json::{BYTES_PER_STEP, DEPTH_MAX};
use crate::run_context;
use crate::sdk::Settings;

const EQUALS: &str = "==";

pub(super) fn register(module: &mut Module) {
    register_pure(module, "==", |context: NativeCallContext<'_>, a: &mut Array, b: Array| {
        arrays_equal(&context, a, &b, 0)
    });
    register_pure(module, "!=", |context: NativeCallContext<'_>, a: &mut Array, b: Array| {
        arrays_equal(&context, a, &b, 0).map(|equal| !equal)
    });
    register_pure(module, "==", |context: NativeCallContext<'_>, a: &mut Map, b: Map| {
        maps_equal(&context, a, &b, 0)
    });
    register_pure(module, "!=", |context: NativeCallContext<'_>, a: &mut Map, b: Map| {
        maps_equal(&context, a, &b, 0).map(|equal| !equal)
    });
    // Rhai's own functions copy the searched value and the state of the evaluation for each element.
    register_pure(module, "contains", |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic| {
        index_of(&context, array, &value, 0).map(|index| index.is_some())
    });
    register_pure(module, "index_of", |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic| {
        index_of(&context, array, &value, 0).map(index_or_none)
    });
    register_pure(
        module,
        "index_of",
        |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic, start: i64| {
            index_of(&context, array, &value, start_of(array.len(), start)).map(index_or_none)
        },
    );
    for name in ["to_debug", "to_string"] {
        register_pure(module, name, |array: &mut Array| print(|out| write_array(array, out, 0)));
        register_pure(module, name, |map: &mut Map| print(|out| write_map(map, out, 0)));
    }
}

fn arrays_equal(context: &NativeCallContext<'_>, a: &Array, b: &Array, depth: usize) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        charge(1)?;
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
        charge(1)?;
        if a_key != b_key || !values_equal(context, a, b, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn values_equal(
    context: &NativeCallContext<'_>,
    a: &Dynamic,
    b: &Dynamic,
    depth: usize,
) -> Outcome<bool> {
    if depth > DEPTH_MAX {
        return fail(format!("values nested deeper than {DEPTH_MAX} levels cannot be compared"));
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
        return arrays_equal(context, &a, &b, depth);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Map>(), b.read_lock::<Map>()) {
        return maps_equal(context, &a, &b, depth);
    }
    // A fast path for the most common types, without a call, for which Rhai copies its state. It counts as an
    // operation.
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return count_operation().map(|()| a == b);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<ImmutableString>(), b.read_lock::<ImmutableString>()) {
        return count_operation().map(|()| *a == *b);
    }
    // Everything else uses its native comparison; values of types without one are different.
    match context.call_native_fn_raw(EQUALS, true, &mut [&mut a.clone(), &mut b.clone()]) {
        Ok(equal) => Ok(equal.as_bool().unwrap_or(false)),
        Err(error) => match *error {
            EvalAltResult::ErrorFunctionNotFound(..) if a.type_id() != b.type_id() => Ok(false),
            _ => Err(error),
        },
    }
}

/// The index of the first equal value from the element `start`.
pub(super) fn index_of(
    context: &NativeCallContext<'_>,
    array: &Array,
    value: &Dynamic,
    start: usize,
) -> Outcome<Option<usize>> {
    for (index, item) in array.iter().enumerate().skip(start) {
        charge(1)?;
        if values_equal(context, item, value, 0)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Rhai's text form of a value; parts that are nested too deep are omitted.
///
/// It never fails, because Rhai would then print the value itself, without a limit. Instead, the execution stops if
/// the text is too long.
pub(super) fn print(print: impl FnOnce(&mut BoundedText) -> fmt::Result) -> ImmutableString {
    let mut out = BoundedText(String::new());
    // A part that could not be written is omitted: the meter has the stop reason.
    let _ = print(&mut out);
    out.0.into()
}

/// Text up to the maximum length of a string, which accepts nothing after the execution stopped.
pub(super) struct BoundedText(String);

impl fmt::Write for BoundedText {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.0.len() + more.len() > STRING_MAX {
            run_context::stop_for_size();
            return Err(fmt::Error);
        }
        if run_context::charge(1 + more.len() / BYTES_PER_STEP).is_some() {
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}

fn write_value(value: &Dynamic, out: &mut BoundedText, depth: usize) -> fmt::Result {
    if depth > DEPTH_MAX {
        out.write_str("...")
    } else if let Some(array) = value.read_lock::<Array>() {
        write_array(&array, out, depth)
    } else if let Some(map) = value.read_lock::<Map>() {
        write_map(&map, out, depth)
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        // By name only: captured values can be nested without limit.
        write!(out, "Fn({})", function.fn_name())
    } else if let Some(settings) = value.read_lock::<Settings>() {
        out.write_str(&settings.describe())
    } else {
        write!(out, "{value:?}")
    }
}

fn write_array(array: &Array, out: &mut BoundedText, depth: usize) -> fmt::Result {
    out.write_str("[")?;
    for (index, item) in array.iter().enumerate() {
        out.write_str(if index == 0 { "" } else { ", " })?;
        write_value(item, out, depth + 1)?;
    }
    out.write_str("]")
}

fn write_map(map: &Map, out: &mut BoundedText, depth: usize) -> fmt::Result {
    out.write_str("#{")?;
    for (index, (key, item)) in map.iter().enumerate() {
        write!(out, "{}{key:?}: ", if index == 0 { "" } else { ", " })?;
        write_value(item, out, depth + 1)?;
    }
    out.write_str("}")
}
