//! Functions of arrays that call a function of the script with each element.
//!
//! They take linear time: Rhai's own `drain` and `retain` move the rest of the array for every removed element, and
//! its `reduce` copies the accumulator for every element.

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, ImmutableString, Module, NativeCallContext};

use super::callback::{Callback, Rules};
use super::{EXIT, Outcome, charge, register_mutating, register_pure, reserve};

type Context<'c> = NativeCallContext<'c>;

pub(super) fn register(module: &mut Module, rules: Rules) {
    register_mutating(module, "for_each", move |context: Context<'_>, array: &mut Array, function: FnPtr| {
        let callback = Callback::new(&context, &function, "for_each", rules);
        for (index, item) in array.iter_mut().enumerate() {
            let _ = callback.call_with_item(item, [], [index_value(index)], None)?;
        }
        Ok::<_, Box<EvalAltResult>>(())
    });
    register_pure(
        module,
        "zip",
        move |context: Context<'_>, array: &mut Array, other: Array, function: FnPtr| {
            let callback = Callback::new(&context, &function, "zip", rules);
            let each = array.iter().zip(other).enumerate();
            each.map(|(index, (a, b))| callback.call_with([a.clone(), b], index_value(index)))
                .collect::<Outcome<Array>>()
        },
    );
    by_function(module, "map", move |context, array, function| {
        let callback = Callback::new(context, function, "map", rules);
        reserve(size_of_val(array.as_slice()))?;
        let mut mapped = Array::with_capacity(array.len());
        for (index, item) in array.iter_mut().enumerate() {
            mapped.push(callback.call_with_item(item, [], [index_value(index)], Some(0))?);
        }
        Ok(mapped)
    });
    by_function(module, "filter", move |context, array, function| {
        let callback = Callback::new(context, function, "filter", rules);
        let mut matching = Array::new();
        for (index, item) in array.iter_mut().enumerate() {
            if test_item(&callback, index, item)? {
                matching.push(item.clone());
            }
        }
        Ok(matching)
    });
    by_function(module, "some", move |context, array, function| {
        Ok(find_from(&Callback::new(context, function, "some", rules), array, 0)?.is_some())
    });
    by_function(module, "all", move |context, array, function| {
        let callback = Callback::new(context, function, "all", rules);
        for (index, item) in array.iter_mut().enumerate() {
            if !test_item(&callback, index, item)? {
                return Ok(false);
            }
        }
        Ok(true)
    });
    by_function(module, "drain", move |context, array, function| {
        partition(&Callback::new(context, function, "drain", rules), array, true)
    });
    by_function(module, "retain", move |context, array, function| {
        partition(&Callback::new(context, function, "retain", rules), array, false)
    });
    searches(module, rules);
    reductions(module, rules);
}

/// Registers a function that takes an array and a function, which can also be given by name.
fn by_function<R: rhai::Variant + Clone>(
    module: &mut Module,
    name: &'static str,
    work: impl Fn(&Context<'_>, &mut Array, &FnPtr) -> Outcome<R> + Clone + Send + Sync + 'static,
) {
    let by_name = work.clone();
    // As in Rhai, functions that remove elements reject a constant.
    let register = |module: &mut Module, changing: bool| {
        if changing {
            register_mutating(
                module,
                name,
                move |context: Context<'_>, array: &mut Array, function: FnPtr| {
                    work(&context, array, &function)
                },
            );
        } else {
            register_pure(module, name, move |context: Context<'_>, array: &mut Array, function: FnPtr| {
                work(&context, array, &function)
            });
        }
    };
    let changing = matches!(name, "drain" | "retain");
    register(module, changing);
    let named = move |context: Context<'_>, array: &mut Array, function: ImmutableString| {
        by_name(&context, array, &FnPtr::new(function)?)
    };
    if changing || matches!(name, "map" | "filter") {
        register_mutating(module, name, named);
    } else {
        register_pure(module, name, named);
    }
}

fn searches(module: &mut Module, rules: Rules) {
    let index_of = move |context: &Context<'_>, array: &mut Array, function: &FnPtr, start: i64| {
        let from = start_of(array.len(), start);
        find_from(&Callback::new(context, function, "index_of", rules), array, from).map(index_or_none)
    };
    register_pure(module, "index_of", move |context: Context<'_>, array: &mut Array, function: FnPtr| {
        index_of(&context, array, &function, 0)
    });
    register_pure(
        module,
        "index_of",
        move |context: Context<'_>, array: &mut Array, function: FnPtr, start: i64| {
            index_of(&context, array, &function, start)
        },
    );
    // In scripts of SDK 1.0 to 1.2, a text is the name of a function if there is a callable one, else a value to
    // search for. A text from outside must not stop the script, so `exit` is never called.
    let text = move |context: &Context<'_>, array: &mut Array, text: ImmutableString, start: i64| {
        if !rules.strict
            && text != EXIT
            && let Ok(function) = FnPtr::new(text.clone())
        {
            match index_of(context, array, &function, start) {
                Err(error) if is_function_missing(&error, &text) => (),
                found => return found,
            }
        }
        let from = start_of(array.len(), start);
        super::nested::index_of(context, array, &text.into(), from).map(index_or_none)
    };
    register_pure(
        module,
        "index_of",
        move |context: Context<'_>, array: &mut Array, searched: ImmutableString| {
            text(&context, array, searched, 0)
        },
    );
    register_pure(
        module,
        "index_of",
        move |context: Context<'_>, array: &mut Array, searched: ImmutableString, start: i64| {
            text(&context, array, searched, start)
        },
    );
    let find = move |context: &Context<'_>, array: &mut Array, function: &FnPtr, start: i64| {
        let from = start_of(array.len(), start);
        let found = find_from(&Callback::new(context, function, "find", rules), array, from)?;
        Ok::<_, Box<EvalAltResult>>(found.and_then(|index| array.get(index).cloned()).unwrap_or_default())
    };
    register_pure(module, "find", move |context: Context<'_>, array: &mut Array, function: FnPtr| {
        find(&context, array, &function, 0)
    });
    register_pure(
        module,
        "find",
        move |context: Context<'_>, array: &mut Array, function: FnPtr, start: i64| {
            find(&context, array, &function, start)
        },
    );
    let find_map = move |context: &Context<'_>, array: &mut Array, function: &FnPtr, start: i64| {
        let callback = Callback::new(context, function, "find_map", rules);
        let from = start_of(array.len(), start);
        for (index, item) in array.iter_mut().enumerate().skip(from) {
            let found = callback.call_with_item(item, [], [index_value(index)], Some(0))?;
            if !found.is_unit() {
                return Ok(found);
            }
        }
        Ok::<_, Box<EvalAltResult>>(Dynamic::UNIT)
    };
    register_pure(module, "find_map", move |context: Context<'_>, array: &mut Array, function: FnPtr| {
        find_map(&context, array, &function, 0)
    });
    register_pure(
        module,
        "find_map",
        move |context: Context<'_>, array: &mut Array, function: FnPtr, start: i64| {
            find_map(&context, array, &function, start)
        },
    );
}

fn reductions(module: &mut Module, rules: Rules) {
    for (name, backwards) in [("reduce", false), ("reduce_rev", true)] {
        let reduce = move |context: Context<'_>,
                           array: &mut Array,
                           function: FnPtr,
                           initial: Dynamic|
              -> Outcome<Dynamic> {
            let callback = Callback::new(&context, &function, name, rules);
            let step = |so_far: Dynamic, (index, item): (usize, &mut Dynamic)| {
                callback.call_with_item(item, [so_far], [index_value(index)], Some(1))
            };
            let mut items = array.iter_mut().enumerate();
            if backwards { items.rev().try_fold(initial, step) } else { items.try_fold(initial, step) }
        };
        register_pure(module, name, move |context: Context<'_>, array: &mut Array, function: FnPtr| {
            reduce(context, array, function, Dynamic::UNIT)
        });
        register_pure(module, name, reduce);
        register_pure(
            module,
            name,
            move |context: Context<'_>, array: &mut Array, function: ImmutableString| {
                reduce(context, array, FnPtr::new(function)?, Dynamic::UNIT)
            },
        );
        register_pure(
            module,
            name,
            move |context: Context<'_>, array: &mut Array, function: ImmutableString, initial: Dynamic| {
                reduce(context, array, FnPtr::new(function)?, initial)
            },
        );
    }
}

fn index_value(index: usize) -> Dynamic {
    i64::try_from(index).unwrap_or(i64::MAX).into()
}

pub(super) fn index_or_none(index: Option<usize>) -> i64 {
    index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1)
}

/// The start of a search, which counts from the end if it is negative.
pub(super) fn start_of(length: usize, start: i64) -> usize {
    let distance = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    if start < 0 { length.saturating_sub(distance) } else { distance.min(length) }
}

fn test_item(callback: &Callback<'_>, index: usize, item: &mut Dynamic) -> Outcome<bool> {
    let given = callback.call_with_item(item, [], [index_value(index)], Some(0))?;
    callback.as_condition(&given)
}

/// The index of the first element from `start` for which the function returns `true`.
fn find_from(callback: &Callback<'_>, array: &mut Array, start: usize) -> Outcome<Option<usize>> {
    for (index, item) in array.iter_mut().enumerate().skip(start) {
        if test_item(callback, index, item)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Removes and returns the elements for which the function returns `taken`. If it fails, the elements before are
/// already removed.
fn partition(callback: &Callback<'_>, array: &mut Array, taken: bool) -> Outcome<Array> {
    let mut out = Array::new();
    let (mut kept, mut index) = (0, 0);
    let mut result = Ok(());
    while let Some(item) = array.get_mut(index) {
        match test_item(callback, index, item) {
            Ok(given) if given == taken => out.push(std::mem::take(item)),
            Ok(_) => {
                array.swap(kept, index);
                kept += 1;
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        index += 1;
    }
    array.drain(kept..index);
    result.and_then(|()| charge(0)).map(|()| out)
}

/// Whether there is no function with this name.
fn is_function_missing(error: &EvalAltResult, name: &str) -> bool {
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, ..) => signature.starts_with(name),
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => {
            matches!(&**inner, EvalAltResult::ErrorFunctionNotFound(signature, ..) if signature.starts_with(name))
        }
        _ => false,
    }
}
