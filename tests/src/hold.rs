//! Holds a node where it writes the log of its state, through a library of this folder's `hold/hold.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::until;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hold/hold.c");

/// Where a node is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing of the group is in the log.
    BeforeWrite,
    /// The group is in the log, and not durable.
    BeforeSync,
    /// The group is durable, and nobody knows.
    AfterSync,
}

/// The library, and the folder that controls it.
#[derive(Debug)]
pub struct Hold(TempDir);

impl Hold {
    /// Compiles the library.
    ///
    /// # Panics
    /// There is no C compiler, which SQLite needs too.
    pub fn new() -> Self {
        let hold = Self(tempfile::tempdir().expect("a temporary folder"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-o"])
            .arg(hold.library())
            .status()
            .expect("cc");
        assert!(compiled.success(), "cc {SOURCE}");
        hold
    }

    /// The environment of a node that can be held.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let folder = self.0.path().display().to_string();
        [("LD_PRELOAD", self.library().display().to_string()), ("HOLD_FOLDER", folder)]
    }

    /// Holds the node the next time that it is at this step.
    pub fn at(&self, step: Step) {
        self.remove("held");
        fs::write(self.path(step.file()), "").expect("a file");
    }

    /// Waits until the node is held.
    pub fn wait(&self) {
        until("the node is held", || self.path("held").exists().then_some(()));
    }

    /// Holds the node no longer.
    pub fn release(&self, step: Step) {
        self.remove(step.file());
    }

    /// Leaves of the log in the data folder what survives a power failure.
    ///
    /// # Panics
    /// Nothing was made durable yet.
    pub fn lose_power(&self, data: &Path) {
        fs::copy(self.path("durable"), data.join("state.db-wal")).expect("a copy of the log");
    }

    fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    fn library(&self) -> PathBuf {
        self.path("hold.so")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    fn file(self) -> &'static str {
        match self {
            Self::BeforeWrite => "write",
            Self::BeforeSync => "sync",
            Self::AfterSync => "synced",
        }
    }
}
