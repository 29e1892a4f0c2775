//! Sorting and removing repetitions, which end when the run does.
//!
//! Rhai's own take an error of a comparer for an answer, also the one that ends a run; and they sort the largest array
//! in one go.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Module, NativeCallContext, Position};

use super::{Outcome, changes, ended, fails, room_for, worked};
use crate::run_context;

pub(super) fn register(module: &mut Module) {
    for name in ["sort", "sort_by"] {
        changes(module, name, |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
            sort_by(&context, array, &comparer)
        });
    }
    changes(module, "sort", |array: &mut Array| sort(array, false));
    changes(module, "sort_desc", |array: &mut Array| sort(array, true));
    for name in ["order", "order_by"] {
        changes(module, name, |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
            copied(array, |array| sort_by(&context, array, &comparer))
        });
    }
    changes(module, "order", |array: &mut Array| copied(array, |array| sort(array, false)));
    changes(module, "order_desc", |array: &mut Array| copied(array, |array| sort(array, true)));
    changes(module, "dedup", |context: NativeCallContext<'_>, array: &mut Array| {
        dedup(array, |a, b| context.call_native_fn_raw("==", true, &mut [&mut a.clone(), &mut b.clone()]))
    });
    changes(module, "dedup", |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
        dedup(array, |a, b| comparer.call_raw(&context, None, [a.clone(), b.clone()]))
    });
}

/// A sorted copy.
fn copied(array: &Array, sort: impl FnOnce(&mut Array) -> Outcome<()>) -> Outcome<Array> {
    room_for(size_of_val(array.as_slice()))?;
    let mut copy = array.clone();
    sort(&mut copy)?;
    Ok(copy)
}

/// Sorts by what a script's function says: a number, or whether the first comes first.
fn sort_by(context: &NativeCallContext<'_>, array: &mut Array, comparer: &FnPtr) -> Outcome<()> {
    sort_until_ended(array, |a, b| {
        let told = comparer.call_raw(context, None, [a.clone(), b.clone()]).ok();
        let told = told.and_then(|told| {
            let first = || told.as_bool().map(|first| if first { Ordering::Less } else { Ordering::Greater });
            told.as_int().map(|number| number.cmp(&0)).or_else(|_| first()).ok()
        });
        // As Rhai has it: an error of the function does not end the sorting.
        told.unwrap_or_else(|| a.type_id().cmp(&b.type_id()))
    })
}

/// Sorts values of one type by their own order.
fn sort(array: &mut Array, descending: bool) -> Outcome<()> {
    let [first, _, ..] = array.as_slice() else { return Ok(()) };
    if array.iter().any(|item| item.type_id() != first.type_id()) {
        return cannot_sort("elements of different types cannot be sorted".to_owned());
    }
    let compare: fn(&Dynamic, &Dynamic) -> Ordering = if first.is_int() {
        |a, b| a.as_int().cmp(&b.as_int())
    } else if first.is_string() {
        |a, b| a.read_lock::<ImmutableString>().as_deref().cmp(&b.read_lock::<ImmutableString>().as_deref())
    } else if first.is_float() {
        |a, b| a.as_float().ok().partial_cmp(&b.as_float().ok()).unwrap_or(Ordering::Equal)
    } else if first.is_char() {
        |a, b| a.as_char().cmp(&b.as_char())
    } else if first.is_bool() {
        |a, b| a.as_bool().cmp(&b.as_bool())
    } else if first.is_unit() {
        return Ok(());
    } else {
        return cannot_sort(format!("elements of {} cannot be sorted", first.type_name()));
    };
    sort_until_ended(array, |a, b| if descending { compare(b, a) } else { compare(a, b) })
}

fn cannot_sort(why: String) -> Outcome<()> {
    Err(EvalAltResult::ErrorFunctionNotFound(why, Position::NONE).into())
}

/// What sorting is left with when the run has reached a limit.
struct Ended;

/// Sorts, keeping the order of equals.
///
/// # Errors
/// The run has reached a limit, or `compare` contradicts itself.
fn sort_until_ended(
    array: &mut Array,
    mut compare: impl FnMut(&Dynamic, &Dynamic) -> Ordering,
) -> Outcome<()> {
    // Half of the values are moved aside while they are merged.
    room_for(size_of_val(array.as_slice()) / 2)?;
    // The standard library's sort can only be left by unwinding; it then leaves every value in some place.
    let sorted = catch_unwind(AssertUnwindSafe(|| {
        array.sort_by(|a, b| {
            if run_context::worked(1).is_some() {
                resume_unwind(Box::new(Ended));
            }
            compare(a, b)
        });
    }));
    match sorted {
        Ok(()) => worked(0),
        Err(panic) if panic.is::<Ended>() => ended(),
        Err(_) => fails("error in comparer for sorting"),
    }
}

/// Removes every item that equals the one before it.
fn dedup(
    array: &mut Array,
    equal: impl Fn(&Dynamic, &Dynamic) -> Result<Dynamic, Box<EvalAltResult>>,
) -> Outcome<()> {
    array.dedup_by(|item, before| {
        // As Rhai has it: an error is a difference. After the last operation nothing is asked any more.
        let equal = || equal(before, item).ok().and_then(|equal| equal.as_bool().ok());
        run_context::worked(1).is_none() && equal().unwrap_or(false)
    });
    worked(0)
}
