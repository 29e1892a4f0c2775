//! A word to people who wait: what takes longer than a second says so on the terminal, and for how long already.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// From when on, and how often, it is said.
const EVERY: Duration = Duration::from_secs(1);

/// Back to the beginning of the line, with nothing on it.
const CLEARED: &str = "\r\x1b[2K";

/// Something that goes on until this is dropped. Where standard error is no terminal, nothing is said.
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// `what` goes on from now.
    pub(crate) fn of(what: &str) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return Self(None);
        }
        let what = crate::words::printable(what);
        let (ended, end) = channel();
        let began = Instant::now();
        let thread = std::thread::Builder::new().spawn(move || {
            let mut said = false;
            while end.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // A terminal that is gone is told nothing more.
                let _ = write!(io::stderr(), "{CLEARED}{what} … {} s", began.elapsed().as_secs());
                said = true;
            }
            if said {
                let _ = write!(io::stderr(), "{CLEARED}");
            }
        });
        // Where there is no thread to be had, the work goes on without a word.
        Self(thread.ok().map(|thread| (ended, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.0.take() {
            drop(ended);
            let _ = thread.join();
        }
    }
}
