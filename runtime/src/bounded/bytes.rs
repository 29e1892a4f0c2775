//! The bytes of a blob, which are integers wherever a script meets one.
//!
//! A loop over a blob gets numbers of a type of Rhai's own that adds up with nothing, equals no integer and has no JSON form.
//! Scripts of SDK 1.0 to 1.2 go on getting those: `type_of` tells them apart.

use std::any::TypeId;

use rhai::{Blob, Dynamic, Module};

use super::callback::Rules;

pub(super) fn register(module: &mut Module, rules: Rules) {
    if rules.strict {
        module.set_iter(TypeId::of::<Blob>(), |blob| {
            let blob = blob.cast::<Blob>();
            Box::new(blob.into_iter().map(|byte| Dynamic::from_int(i64::from(byte))))
        });
    }
}
