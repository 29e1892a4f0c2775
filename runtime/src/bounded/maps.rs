//! Functions of maps that call a function of the script with each entry.

use rhai::{EvalAltResult, FnPtr, Map, Module, NativeCallContext};

use super::callback::{Callback, Rules};
use super::{Outcome, register_mutating, register_pure};

type Context<'c> = NativeCallContext<'c>;

pub(super) fn register(module: &mut Module, rules: Rules) {
    register_pure(module, "map", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        let callback = Callback::new(&context, &function, "map", rules);
        let mut mapped = Map::new();
        for (key, item) in map.iter_mut() {
            mapped.insert(key.clone(), callback.call_with_item(item, [key.into()], [], Some(1))?);
        }
        Ok::<_, Box<EvalAltResult>>(mapped)
    });
    register_pure(module, "filter", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        let callback = Callback::new(&context, &function, "filter", rules);
        let mut matching = Map::new();
        for (key, item) in map.iter_mut() {
            let given = callback.call_with_item(item, [key.into()], [], Some(1))?;
            if callback.as_condition(&given)? {
                matching.insert(key.clone(), item.clone());
            }
        }
        Ok::<_, Box<EvalAltResult>>(matching)
    });
    register_mutating(module, "drain", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        partition(&Callback::new(&context, &function, "drain", rules), map, true)
    });
    register_mutating(module, "retain", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        partition(&Callback::new(&context, &function, "retain", rules), map, false)
    });
}

/// Removes and returns the entries for which the function returns `taken`. If it fails, the entries before are
/// already removed.
fn partition(callback: &Callback<'_>, map: &mut Map, taken: bool) -> Outcome<Map> {
    let (mut out, mut kept) = (Map::new(), Map::new());
    let mut failed = None;
    for (key, mut item) in std::mem::take(map) {
        if failed.is_some() {
            kept.insert(key, item);
            continue;
        }
        let given = callback.call_with_item(&mut item, [key.clone().into()], [], Some(1));
        match given.and_then(|given| callback.as_condition(&given)) {
            Ok(given) if given == taken => drop(out.insert(key, item)),
            Ok(_) => drop(kept.insert(key, item)),
            Err(error) => {
                failed = Some(error);
                kept.insert(key, item);
            }
        }
    }
    *map = kept;
    failed.map_or(Ok(out), Err)
}
