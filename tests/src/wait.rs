//! Waiting for a condition with a timeout.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The timeout of [`until`]; reached only on failure.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// Polls until there is a value.
///
/// # Panics
/// There is none within [`WAIT_MAX`].
pub fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(start.elapsed() < WAIT_MAX, "timeout: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sets a flag when it is dropped, so that threads of a scope end also if the test panics.
pub struct SetOnDrop<'f>(pub &'f AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
