//! Sorting and removing duplicates, stopped by limits.
//!
//! Rhai's functions treat an error of a comparer as a result, including the error of a reached limit, and sort the
//! largest array in one operation. In scripts of SDK 1.0 to 1.2, a thrown value of a comparer is still treated as a
//! result, but limits are not.

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Module, NativeCallContext, Position};

use super::callback::{Callback, Rules};
use super::nested::values_equal;
use super::{Outcome, charge, fail, register_mutating, reserve, terminated};
use crate::run_context;

pub(super) fn register(module: &mut Module, rules: Rules) {
    for name in ["sort", "sort_by"] {
        register_mutating(
            module,
            name,
            move |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
                sort_by(&Callback::new(&context, &comparer, name, rules), array)
            },
        );
    }
    register_mutating(
        module,
        "sort",
        move |context: NativeCallContext<'_>, array: &mut Array, comparer: ImmutableString| -> Outcome<()> {
            sort_by(&Callback::new(&context, &FnPtr::new(comparer)?, "sort", rules), array)
        },
    );
    register_mutating(module, "sort", |array: &mut Array| sort(array, false));
    register_mutating(module, "sort_desc", |array: &mut Array| sort(array, true));
    for name in ["order", "order_by"] {
        register_mutating(
            module,
            name,
            move |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
                sorted_copy(array, |array| sort_by(&Callback::new(&context, &comparer, name, rules), array))
            },
        );
    }
    register_mutating(module, "order", |array: &mut Array| sorted_copy(array, |array| sort(array, false)));
    register_mutating(module, "order_desc", |array: &mut Array| {
        sorted_copy(array, |array| sort(array, true))
    });
    register_mutating(module, "dedup", |context: NativeCallContext<'_>, array: &mut Array| {
        // As in Rhai: values that cannot be compared are different.
        dedup(array, |a, b| Ok(values_equal(&context, a, b, 0).unwrap_or(false)))
    });
    register_mutating(
        module,
        "dedup",
        move |context: NativeCallContext<'_>, array: &mut Array, comparer: FnPtr| {
            dedup_by(&Callback::new(&context, &comparer, "dedup", rules), array)
        },
    );
    register_mutating(
        module,
        "dedup",
        move |context: NativeCallContext<'_>, array: &mut Array, comparer: ImmutableString| -> Outcome<()> {
            dedup_by(&Callback::new(&context, &FnPtr::new(comparer)?, "dedup", rules), array)
        },
    );
}

/// A sorted copy.
fn sorted_copy(array: &Array, sort: impl FnOnce(&mut Array) -> Outcome<()>) -> Outcome<Array> {
    reserve(size_of_val(array.as_slice()))?;
    let mut copy = array.clone();
    sort(&mut copy)?;
    Ok(copy)
}

/// Sorts by a function of the script that returns a number, or whether the first value comes first.
fn sort_by(comparer: &Callback<'_>, array: &mut Array) -> Outcome<()> {
    sort_bounded(array, |a, b| {
        // As in Rhai, if errors are not reported: the order of the types.
        let Some(given) = comparer.compare(a, b)? else { return Ok(a.type_id().cmp(&b.type_id())) };
        if let Ok(number) = given.as_int() {
            return Ok(number.cmp(&0));
        }
        match given.as_bool() {
            Ok(first) => Ok(if first { Ordering::Less } else { Ordering::Greater }),
            Err(_) if comparer.is_strict() => Err(comparer.wrong_type_error(&given, COMPARER_RESULT)),
            Err(_) => Ok(a.type_id().cmp(&b.type_id())),
        }
    })
}

/// Sorts values of one type by their natural order.
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
    sort_bounded(array, |a, b| Ok(if descending { compare(b, a) } else { compare(a, b) }))
}

fn cannot_sort(why: String) -> Outcome<()> {
    Err(EvalAltResult::ErrorFunctionNotFound(why, Position::NONE).into())
}

/// The expected result of a comparer.
const COMPARER_RESULT: &str = "an integer (negative if the first value comes first, positive if the second does) or true if the first comes first";

/// The unwinding payload of an aborted sort: `None` if the execution must stop.
struct SortAborted(Option<Box<EvalAltResult>>);

/// Stable sort.
///
/// # Errors
/// The execution must stop, `compare` fails, or it is inconsistent.
fn sort_bounded(
    array: &mut Array,
    mut compare: impl FnMut(&Dynamic, &Dynamic) -> Outcome<Ordering>,
) -> Outcome<()> {
    // The merge moves half of the values into a buffer.
    reserve(size_of_val(array.as_slice()) / 2)?;
    // The sort of the standard library can only be aborted by unwinding, after which every value is in the slice.
    let sorted = catch_unwind(AssertUnwindSafe(|| {
        array.sort_by(|a, b| {
            if run_context::charge(1).is_some() {
                resume_unwind(Box::new(SortAborted(None)));
            }
            compare(a, b).unwrap_or_else(|error| resume_unwind(Box::new(SortAborted(Some(error)))))
        });
    }));
    match sorted.map_err(|panic| panic.downcast::<SortAborted>()) {
        Ok(()) => charge(0),
        Err(Ok(left)) => left.0.map_or_else(terminated, Err),
        Err(Err(_)) => fail("error in comparer for sorting"),
    }
}

/// Removes every item that equals the previous one.
///
/// # Errors
/// The execution must stop, or `equal` fails.
fn dedup(array: &mut Array, equal: impl Fn(&Dynamic, &Dynamic) -> Outcome<bool>) -> Outcome<()> {
    let mut failed = None;
    array.dedup_by(|item, before| {
        // After the last operation, and after an error, nothing is compared.
        failed.is_none()
            && run_context::charge(1).is_none()
            && equal(before, item).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
    });
    failed.map_or_else(|| charge(0), Err)
}

/// Removes every item that a function of the script reports equal to the previous one.
fn dedup_by(comparer: &Callback<'_>, array: &mut Array) -> Outcome<()> {
    dedup(array, |a, b| match comparer.compare(a, b)? {
        Some(given) => comparer.as_condition(&given),
        // As in Rhai, if errors are not reported: different.
        None => Ok(false),
    })
}
