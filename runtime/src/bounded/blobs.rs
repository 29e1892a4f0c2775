//! The bytes of a blob as integers.
//!
//! Rhai's loop over a blob yields numbers of a type that supports no arithmetic, equals no integer and has no JSON
//! form. Scripts of SDK 1.0 to 1.2 still get those, because `type_of` distinguishes them.

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
