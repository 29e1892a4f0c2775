//! Functions that put a value into a collection: they keep the value itself, never a variable that closures share.
//!
//! Rhai hands over what a shared variable holds, save where a function is called by name with arguments that were curried:
//! `curry(Fn("push"), list, list).call()` would put `list` into itself.

use rhai::{Array, Dynamic, EvalAltResult, Map, Module, Position};

use super::{Outcome, changes};

pub(super) fn register(module: &mut Module) {
    changes(module, "push", |array: &mut Array, item: Dynamic| -> Outcome<()> {
        array.push(alone(item)?);
        Ok(())
    });
    changes(module, "insert", |array: &mut Array, index: i64, item: Dynamic| -> Outcome<()> {
        let at = place(array.len(), index).unwrap_or(array.len());
        array.insert(at, alone(item)?);
        Ok(())
    });
    changes(module, "set", |array: &mut Array, index: i64, item: Dynamic| -> Outcome<()> {
        if let Some(held) = place(array.len(), index).and_then(|at| array.get_mut(at)) {
            *held = alone(item)?;
        }
        Ok(())
    });
    changes(module, "set", |map: &mut Map, key: &str, item: Dynamic| -> Outcome<()> {
        map.insert(key.into(), alone(item)?);
        Ok(())
    });
}

/// The value itself.
///
/// # Errors
/// It is a shared variable that is being changed, perhaps the collection that it is to be put into.
pub(super) fn alone(item: Dynamic) -> Outcome<Dynamic> {
    if item.is_locked() {
        let message = "a value cannot be put into itself".to_owned();
        return Err(EvalAltResult::ErrorDataRace(message, Position::NONE).into());
    }
    Ok(item.flatten())
}

/// Where an index points to, counted from the end where it is negative, and no further than the beginning.
fn place(length: usize, index: i64) -> Option<usize> {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { Some(length.saturating_sub(distance)) } else { (distance < length).then_some(distance) }
}
