//! A progress line for operations that take longer than a second.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The delay before the first line and between updates.
const INTERVAL: Duration = Duration::from_secs(1);

/// Clears the line.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// A running operation; ends when dropped. Prints nothing if standard error is not a terminal.
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Starts the progress line of an operation.
    pub(crate) fn start(operation: &str) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return Self(None);
        }
        let operation = crate::render::printable(operation);
        let (stop, stopped) = channel();
        let began = Instant::now();
        let thread = std::thread::Builder::new().spawn(move || {
            let mut printed = false;
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // The terminal can be closed.
                let _ = write!(io::stderr(), "{CLEAR_LINE}{operation} … {} s", began.elapsed().as_secs());
                printed = true;
            }
            if printed {
                let _ = write!(io::stderr(), "{CLEAR_LINE}");
            }
        });
        // Without a thread, there is no progress line.
        Self(thread.ok().map(|thread| (stop, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}
