//! Faults in a short and a long form, at moments that a seed decides, and how long a node took to recover.
//!
//! `make test` runs the short forms, `make faults` the long ones. A failed run is repeated by its seed:
//! `FAULTS_SEED=7 cargo test --test e2e NAME`.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What every fault has to be over in, without a restart.
pub const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// Whether these are the long forms.
pub fn long() -> bool {
    std::env::var("FAULTS").is_ok_and(|form| form == "long")
}

/// `short` of something in `make test`, `long` in `make faults`.
pub fn rounds(short: u32, long: u32) -> u32 {
    if self::long() { long } else { short }
}

/// Prints how long `fault` was felt, from `since` on. Called when the node is as it was before.
///
/// # Panics
/// It took longer than [`RECOVERY_MAX`], in the long form; the short forms share the machine with other tests.
pub fn recovered(fault: &str, since: Instant) {
    recovered_in(fault, since.elapsed());
}

/// The same where the time was taken before.
///
/// # Panics
/// As for [`recovered`].
pub fn recovered_in(fault: &str, took: Duration) {
    say(&format!("recovered  {:6.1} s  {fault}", took.as_secs_f64()));
    assert!(!long() || took < RECOVERY_MAX, "{fault}: recovered after {took:?}");
}

/// Random numbers that a seed repeats (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct Moments(u64);

impl Moments {
    /// Starts from `FAULTS_SEED`, or else from the time, and prints which for the test `name`.
    ///
    /// # Panics
    /// `FAULTS_SEED` is no number.
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

/// Writes past the capture of output, so that a run that passes shows it too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
