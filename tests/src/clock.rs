//! Processes whose clock is wrong, by libfaketime.

use std::path::Path;
use std::process::Command;

/// Starts the program with a clock that is off by `offset`, such as `-10d` or `+60s`.
///
/// # Panics
/// libfaketime is not installed: the tests were not run through `make test`.
pub fn set_off<'c>(command: &'c mut Command, offset: &str) -> &'c mut Command {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "{library} is installed by `make test`");
    // The clock that only goes forward is right on every machine.
    command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}
