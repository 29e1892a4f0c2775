//! Functions that walk into arrays and maps, bounded in depth and in what they make.

use std::fmt::{self, Write as _};

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Map, Module, NativeCallContext};

use super::each::{index_or_none, start_of};
use super::{Outcome, STRING_MAX, counted, fails, reads, worked};
use crate::json::{BYTES_PER_STEP, DEPTH_MAX};
use crate::run_context;
use crate::sdk::Settings;

const EQUALS: &str = "==";

pub(super) fn register(module: &mut Module) {
    reads(module, "==", |context: NativeCallContext<'_>, a: &mut Array, b: Array| {
        arrays_equal(&context, a, &b, 0)
    });
    reads(module, "!=", |context: NativeCallContext<'_>, a: &mut Array, b: Array| {
        arrays_equal(&context, a, &b, 0).map(|equal| !equal)
    });
    reads(module, "==", |context: NativeCallContext<'_>, a: &mut Map, b: Map| maps_equal(&context, a, &b, 0));
    reads(module, "!=", |context: NativeCallContext<'_>, a: &mut Map, b: Map| {
        maps_equal(&context, a, &b, 0).map(|equal| !equal)
    });
    // Rhai's own copy what is searched for, and the state of the run, for each element.
    reads(module, "contains", |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic| {
        index_of(&context, array, &value, 0).map(|index| index.is_some())
    });
    reads(module, "index_of", |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic| {
        index_of(&context, array, &value, 0).map(index_or_none)
    });
    reads(
        module,
        "index_of",
        |context: NativeCallContext<'_>, array: &mut Array, value: Dynamic, start: i64| {
            index_of(&context, array, &value, start_of(array.len(), start)).map(index_or_none)
        },
    );
    for name in ["to_debug", "to_string"] {
        reads(module, name, |array: &mut Array| printed(|out| array_into(array, out, 0)));
        reads(module, name, |map: &mut Map| printed(|out| map_into(map, out, 0)));
    }
}

fn arrays_equal(context: &NativeCallContext<'_>, a: &Array, b: &Array, depth: usize) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        worked(1)?;
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
        worked(1)?;
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
        return fails(format!("values nested deeper than {DEPTH_MAX} levels cannot be compared"));
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
        return arrays_equal(context, &a, &b, depth);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Map>(), b.read_lock::<Map>()) {
        return maps_equal(context, &a, &b, depth);
    }
    // What is compared most, without a call, for which Rhai copies its state; it counts as one.
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return counted().map(|()| a == b);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<ImmutableString>(), b.read_lock::<ImmutableString>()) {
        return counted().map(|()| *a == *b);
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

/// Where a value is first found from the element `start` on.
pub(super) fn index_of(
    context: &NativeCallContext<'_>,
    array: &Array,
    value: &Dynamic,
    start: usize,
) -> Outcome<Option<usize>> {
    for (index, item) in array.iter().enumerate().skip(start) {
        worked(1)?;
        if values_equal(context, item, value, 0)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Rhai's form of a value for people; what is nested too deeply is left out.
///
/// It never fails: Rhai would then write the value itself, at any length. Instead the run ends when the text is too long.
pub(super) fn printed(print: impl FnOnce(&mut Text) -> fmt::Result) -> ImmutableString {
    let mut out = Text(String::new());
    // What could not be written is left out: the meter knows that the run must end.
    let _ = print(&mut out);
    out.0.into()
}

/// Text that takes no more than a string may hold, and nothing after the end of the run.
pub(super) struct Text(String);

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.0.len() + more.len() > STRING_MAX {
            run_context::end_for_size();
            return Err(fmt::Error);
        }
        if run_context::worked(1 + more.len() / BYTES_PER_STEP).is_some() {
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}

fn value_into(value: &Dynamic, out: &mut Text, depth: usize) -> fmt::Result {
    if depth > DEPTH_MAX {
        out.write_str("...")
    } else if let Some(array) = value.read_lock::<Array>() {
        array_into(&array, out, depth)
    } else if let Some(map) = value.read_lock::<Map>() {
        map_into(&map, out, depth)
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        // By name only: what it captured may be as deep as memory is large.
        write!(out, "Fn({})", function.fn_name())
    } else if let Some(settings) = value.read_lock::<Settings>() {
        out.write_str(&settings.printed())
    } else {
        write!(out, "{value:?}")
    }
}

fn array_into(array: &Array, out: &mut Text, depth: usize) -> fmt::Result {
    out.write_str("[")?;
    for (index, item) in array.iter().enumerate() {
        out.write_str(if index == 0 { "" } else { ", " })?;
        value_into(item, out, depth + 1)?;
    }
    out.write_str("]")
}

fn map_into(map: &Map, out: &mut Text, depth: usize) -> fmt::Result {
    out.write_str("#{")?;
    for (index, (key, item)) in map.iter().enumerate() {
        write!(out, "{}{key:?}: ", if index == 0 { "" } else { ", " })?;
        value_into(item, out, depth + 1)?;
    }
    out.write_str("}")
}
