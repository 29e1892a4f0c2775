//! Cuts the objects of a push into batches.

use std::io;

use crate::model::{Object, Objects};

/// How many objects one statement inserts …
const OBJECTS_MAX: usize = 10_000;

/// … and about how many bytes: each statement has to finish within the statement timeout, and is held in memory.
const BYTES_MAX: usize = 2 << 20;

/// Reads the next batch from index `from` on: at least one object, if there is one.
pub(crate) fn read(objects: &dyn Objects, from: usize) -> io::Result<Vec<Object>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for index in from..objects.len() {
        if batch.len() == OBJECTS_MAX || bytes >= BYTES_MAX {
            break;
        }
        let object = objects.object(index)?;
        bytes += object.zlib.len();
        batch.push(object);
    }
    Ok(batch)
}
