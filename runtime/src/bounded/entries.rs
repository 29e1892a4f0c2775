//! Functions of maps that call a function of the script with each entry.

use rhai::{EvalAltResult, FnPtr, Map, Module, NativeCallContext};

use super::callback::{Callback, Rules};
use super::{Outcome, changes, reads};

type Context<'c> = NativeCallContext<'c>;

pub(super) fn register(module: &mut Module, rules: Rules) {
    reads(module, "map", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        let callback = Callback::new(&context, &function, "map", rules);
        let mut mapped = Map::new();
        for (key, item) in map.iter_mut() {
            mapped.insert(key.clone(), callback.with_item(item, [key.into()], [], Some(1))?);
        }
        Ok::<_, Box<EvalAltResult>>(mapped)
    });
    reads(module, "filter", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        let callback = Callback::new(&context, &function, "filter", rules);
        let mut fitting = Map::new();
        for (key, item) in map.iter_mut() {
            let given = callback.with_item(item, [key.into()], [], Some(1))?;
            if callback.condition(&given)? {
                fitting.insert(key.clone(), item.clone());
            }
        }
        Ok::<_, Box<EvalAltResult>>(fitting)
    });
    changes(module, "drain", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        part(&Callback::new(&context, &function, "drain", rules), map, true)
    });
    changes(module, "retain", move |context: Context<'_>, map: &mut Map, function: FnPtr| {
        part(&Callback::new(&context, &function, "retain", rules), map, false)
    });
}

/// Takes the entries out for which the function gives `taken`. Where it fails, those that came before are gone.
fn part(callback: &Callback<'_>, map: &mut Map, taken: bool) -> Outcome<Map> {
    let (mut out, mut kept) = (Map::new(), Map::new());
    let mut failed = None;
    for (key, mut item) in std::mem::take(map) {
        if failed.is_some() {
            kept.insert(key, item);
            continue;
        }
        let given = callback.with_item(&mut item, [key.clone().into()], [], Some(1));
        match given.and_then(|given| callback.condition(&given)) {
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
