//! The tests of an app: claims in its scripts and in files `*.test.rhai`, checked by runs without effects.
//!
//! - `settings`: what claims see instead of the clock, of random numbers, and of secrets
//! - `suite`: finds the tests of a folder
//! - `run`: runs them, and the `[[checks]]` of the manifest
//! - `mismatch`: the first difference of an answer and its claim

mod mismatch;
mod run;
mod settings;
mod suite;

pub use mismatch::{Mismatch, show_log_line};
pub use run::{TestOutcome, TestReport, append_checks, run_tests};
pub use suite::{Suite, TEST_SUFFIX, TestFiles};

#[cfg(test)]
mod tests;
