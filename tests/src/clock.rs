//! Processes with a wrong clock, through libfaketime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Starts the program with a clock that is off by `offset`, such as `-10d` or `+60s`.
///
/// # Panics
/// libfaketime is not installed: the tests were not run through `make test`.
pub fn with_clock_offset<'c>(command: &'c mut Command, offset: &str) -> &'c mut Command {
    command.envs(by_libfaketime()).env("FAKETIME", offset)
}

/// A clock that can be set while processes use it.
#[derive(Debug)]
pub struct Clock(TempDir);

impl Clock {
    /// A clock that is so many seconds ahead.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn start(ahead: i64) -> Self {
        let clock = Self(tempfile::tempdir().expect("a temporary folder"));
        clock.set(ahead);
        clock
    }

    /// Sets the clock so many seconds ahead.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn set(&self, ahead: i64) {
        // Atomic, since processes read the file whenever they read the clock.
        let new = self.0.path().join("new");
        fs::write(&new, format!("{ahead:+}\n")).expect("a file");
        fs::rename(new, self.file()).expect("a file");
    }

    /// The environment of a process that uses this clock.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = Vec::from(by_libfaketime());
        environment.push(("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()));
        environment.push(("FAKETIME_NO_CACHE", "1".to_owned()));
        environment
    }

    /// The folder that such a process reads.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("offset")
    }
}

fn by_libfaketime() -> [(&'static str, String); 2] {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "{library} is installed by `make test`");
    // The monotonic clock is not changed.
    [("LD_PRELOAD", library), ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned())]
}
