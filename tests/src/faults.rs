//! Fault injection in a short and a long form, at times from a seed, and the time to recovery.
//!
//! `make test` runs the short forms, `make faults` and `make history` the long ones. The seed repeats a failed run:
//! `FAULTS_SEED=7 cargo test --test e2e NAME`.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The maximum time to recovery from every fault, without a restart.
pub const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// Whether the long forms run.
pub fn long() -> bool {
    std::env::var("FAULTS").is_ok_and(|form| form == "long")
}

/// `short` in `make test`, `long` in `make faults` and `make history`.
pub fn rounds(short: u32, long: u32) -> u32 {
    if self::long() { long } else { short }
}

/// Prints the time to recovery from `fault`, which began at `since`. Called when the node has recovered.
///
/// # Panics
/// It took longer than [`RECOVERY_MAX`], in the long form; the short forms share the machine with other tests.
pub fn recovered(fault: &str, since: Instant) {
    recovered_in(fault, since.elapsed());
}

/// The same with a measured time.
///
/// # Panics
/// As for [`recovered`].
pub fn recovered_in(fault: &str, took: Duration) {
    say(&format!("recovered  {:6.1} s  {fault}", took.as_secs_f64()));
    assert!(!long() || took < RECOVERY_MAX, "{fault}: recovered after {took:?}");
}

/// Reproducible random numbers (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct SeededRandom(u64);

impl SeededRandom {
    /// Starts from `FAULTS_SEED`, or else from the time, and prints the seed for the test `name`.
    ///
    /// # Panics
    /// `FAULTS_SEED` is not a number.
    pub fn new(name: &str) -> Self {
        let seed = match std::env::var("FAULTS_SEED") {
            Ok(seed) => seed.parse().expect("FAULTS_SEED is a number"),
            Err(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
            }
        };
        say(&format!("seed  FAULTS_SEED={seed}  {name}"));
        Self(seed)
    }

    /// Other random numbers, for a thread of its own.
    pub fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end
    }

    /// A time shorter than `most`.
    pub fn within(&mut self, most: Duration) -> Duration {
        let nanoseconds = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.below(nanoseconds))
    }
}

/// Writes past the output capture, so that passing tests show it too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
