//! Sorting and removing repetitions, which end when the run does.
//!
//! Rhai's own take an error of a comparer for an answer, also the one that ends a run; and they sort the largest array
//! in one go. In scripts of SDK 1.0 to 1.2 what a comparer throws is still taken for an answer, the end of the run is not.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Module, NativeCallContext, Position};

use super::callback::{Callback, Rules};
use super::nested::values_equal;
use super::{Outcome, changes, ended, fails, room_for, worked};
use crate::run_context;

pub(super) fn register(module: &mut Module, rules: Rules) {
    for name in ["sort", "sort_by"] {
        changes(module, name, move |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
            sort_by(&Callback::new(&context, &comparer, name, rules), array)
        });
    }
    changes(
        module,
        "sort",
        move |context: NativeCallContext<'_>, array: &mut Array, comparer: ImmutableString| -> Outcome<()> {
            sort_by(&Callback::new(&context, &FnPtr::new(comparer)?, "sort", rules), array)
        },
    );
    changes(module, "sort", |array: &mut Array| sort(array, false));
    changes(module, "sort_desc", |array: &mut Array| sort(array, true));
    for name in ["order", "order_by"] {
        changes(module, name, move |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
            copied(array, |array| sort_by(&Callback::new(&context, &comparer, name, rules), array))
        });
    }
    changes(module, "order", |array: &mut Array| copied(array, |array| sort(array, false)));
    changes(module, "order_desc", |array: &mut Array| copied(array, |array| sort(array, true)));
    changes(module, "dedup", |context: NativeCallContext<'_>, array: &mut Array| {
        // As Rhai has it: what cannot be compared is different.
        dedup(array, |a, b| Ok(values_equal(&context, a, b, 0).unwrap_or(false)))
    });
    changes(module, "dedup", move |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
        dedup_by(&Callback::new(&context, &comparer, "dedup", rules), array)
    });
    changes(
        module,
        "dedup",
        move |context: NativeCallContext<'_>, array: &mut Array, comparer: ImmutableString| -> Outcome<()> {
            dedup_by(&Callback::new(&context, &FnPtr::new(comparer)?, "dedup", rules), array)
        },
    );
}

/// A sorted copy.
fn copied(array: &Array, sort: impl FnOnce(&mut Array) -> Outcome<()>) -> Outcome<Array> {
    room_for(size_of_val(array.as_slice()))?;
    let mut copy = array.clone();
    sort(&mut copy)?;
    Ok(copy)
}

/// Sorts by what a script's function says: a number, or whether the first comes first.
fn sort_by(comparer: &Callback<'_>, array: &mut Array) -> Outcome<()> {
    sort_until_ended(array, |a, b| {
        // As Rhai has it, where it is not to be an error: the order of the kinds.
        let Some(given) = comparer.about(a, b)? else { return Ok(a.type_id().cmp(&b.type_id())) };
        if let Ok(number) = given.as_int() {
            return Ok(number.cmp(&0));
        }
        match given.as_bool() {
            Ok(first) => Ok(if first { Ordering::Less } else { Ordering::Greater }),
            Err(_) if comparer.is_strict() => Err(comparer.wrong(&given, ORDER)),
            Err(_) => Ok(a.type_id().cmp(&b.type_id())),
        }
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
    sort_until_ended(array, |a, b| Ok(if descending { compare(b, a) } else { compare(a, b) }))
}

fn cannot_sort(why: String) -> Outcome<()> {
    Err(EvalAltResult::ErrorFunctionNotFound(why, Position::NONE).into())
}

/// What a comparer says.
const ORDER: &str = "an integer (below 0 where the first of the two comes first, above 0 where the second does) or true where the first does";

/// What sorting is left with where it cannot go on: `None` when the run has come to its end.
struct Left(Option<Box<EvalAltResult>>);

/// Sorts, keeping the order of equals.
///
/// # Errors
/// The run has come to its end, `compare` fails, or it contradicts itself.
fn sort_until_ended(
    array: &mut Array,
    mut compare: impl FnMut(&Dynamic, &Dynamic) -> Outcome<Ordering>,
) -> Outcome<()> {
    // Half of the values are moved aside while they are merged.
    room_for(size_of_val(array.as_slice()) / 2)?;
    // The standard library's sort can only be left by unwinding; it then leaves every value in some place.
    let sorted = catch_unwind(AssertUnwindSafe(|| {
        array.sort_by(|a, b| {
            if run_context::worked(1).is_some() {
                resume_unwind(Box::new(Left(None)));
            }
            compare(a, b).unwrap_or_else(|error| resume_unwind(Box::new(Left(Some(error)))))
        });
    }));
    match sorted.map_err(|panic| panic.downcast::<Left>()) {
        Ok(()) => worked(0),
        Err(Ok(left)) => left.0.map_or_else(ended, Err),
        Err(Err(_)) => fails("error in comparer for sorting"),
    }
}

/// Removes every item that equals the one before it.
///
/// # Errors
/// The run has come to its end, or `equal` fails.
fn dedup(array: &mut Array, equal: impl Fn(&Dynamic, &Dynamic) -> Outcome<bool>) -> Outcome<()> {
    let mut failed = None;
    array.dedup_by(|item, before| {
        // After the last operation, and after an error, nothing is asked any more.
        failed.is_none()
            && run_context::worked(1).is_none()
            && equal(before, item).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
    });
    failed.map_or_else(|| worked(0), Err)
}

/// Removes every item that a function of the script calls equal to the one before it.
fn dedup_by(comparer: &Callback<'_>, array: &mut Array) -> Outcome<()> {
    dedup(array, |a, b| match comparer.about(a, b)? {
        Some(given) => comparer.condition(&given),
        // As Rhai has it, where it is not to be an error: a difference.
        None => Ok(false),
    })
}
