//! How much of a push's objects is inserted at once.

use std::io;

use crate::record::{Object, Objects};

/// How many objects one statement inserts …
const OBJECTS_MAX: usize = 10_000;

/// … and about how many bytes of them: each statement has to end within the connection's time, and is held in memory.
const BYTES_MAX: usize = 2 << 20;

/// The next objects, from number `from` on: at least one, if there is one.
pub(crate) fn read(objects: &dyn Objects, from: usize) -> io::Result<Vec<Object>> {
    let mut portion = Vec::new();
    let mut bytes = 0;
    for index in from..objects.len() {
        if portion.len() == OBJECTS_MAX || bytes >= BYTES_MAX {
            break;
        }
        let object = objects.object(index)?;
        bytes += object.zlib.len();
        portion.push(object);
    }
    Ok(portion)
}
