//! Functions that insert a value into a collection: they insert the value itself, never a shared variable of
//! closures.
//!
//! Rhai passes the content of a shared variable, except if a function is called by name with curried arguments:
//! `curry(Fn("push"), list, list).call()` would insert `list` into itself.

use rhai::{Array, Dynamic, EvalAltResult, Map, Module, Position};

use super::{Outcome, register_mutating};

pub(super) fn register(module: &mut Module) {
    register_mutating(module, "push", |array: &mut Array, item: Dynamic| -> Outcome<()> {
        array.push(unshared(item)?);
        Ok(())
    });
    register_mutating(module, "insert", |array: &mut Array, index: i64, item: Dynamic| -> Outcome<()> {
        let at = index_at(array.len(), index).unwrap_or(array.len());
        array.insert(at, unshared(item)?);
        Ok(())
    });
    register_mutating(module, "set", |array: &mut Array, index: i64, item: Dynamic| -> Outcome<()> {
        if let Some(held) = index_at(array.len(), index).and_then(|at| array.get_mut(at)) {
            *held = unshared(item)?;
        }
        Ok(())
    });
    register_mutating(module, "set", |map: &mut Map, key: &str, item: Dynamic| -> Outcome<()> {
        map.insert(key.into(), unshared(item)?);
        Ok(())
    });
}

/// The content of a value that can be a shared variable.
///
/// # Errors
/// It is a shared variable in use, possibly the target collection.
pub(super) fn unshared(item: Dynamic) -> Outcome<Dynamic> {
    if item.is_locked() {
        let message = "a value cannot contain itself".to_owned();
        return Err(EvalAltResult::ErrorDataRace(message, Position::NONE).into());
    }
    Ok(item.flatten())
}

/// The position of an index, which counts from the end if it is negative, clamped at the start.
fn index_at(length: usize, index: i64) -> Option<usize> {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { Some(length.saturating_sub(distance)) } else { (distance < length).then_some(distance) }
}
