//! A rate limit of failed authentication attempts per client network.
//!
//! A token has 200 random bits, so guessing is hopeless. The limit bounds the work that guessing causes, and a log line reports it. A valid
//! token is always accepted: many users share the address of a proxy or a router.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client_ip::network;

/// The failed attempts within [`WINDOW`] that get 401; further ones get 429.
const ATTEMPTS_MAX: u32 = 10;

/// The window in which failed attempts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The maximum number of networks to track. For another one, the one with the oldest window is dropped.
const NETWORKS_MAX: usize = 4096;

/// The recent failed attempts, by network.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts(Mutex<HashMap<IpAddr, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    attempts: u32,
}

/// The response to a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// 401.
    Reject,
    /// 429. `is_first` for the first one of a window.
    RateLimited { retry_after: Duration, is_first: bool },
}

impl FailedAttempts {
    /// Records a failed attempt from an address.
    pub(super) fn record(&self, address: IpAddr, now: Instant) -> Decision {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if !windows.contains_key(&network) && windows.len() >= NETWORKS_MAX {
            windows.retain(|_, window| now.saturating_duration_since(window.start) < WINDOW);
            let oldest = windows.iter().min_by_key(|(_, window)| window.start).map(|(network, _)| *network);
            if let Some(oldest) = oldest.filter(|_| windows.len() >= NETWORKS_MAX) {
                windows.remove(&oldest);
            }
        }
        let window = windows.entry(network).or_insert(Window { start: now, attempts: 0 });
        if now.saturating_duration_since(window.start) >= WINDOW {
            *window = Window { start: now, attempts: 0 };
        }
        window.attempts = window.attempts.saturating_add(1);
        match window.attempts {
            ..=ATTEMPTS_MAX => Decision::Reject,
            attempts => Decision::RateLimited {
                retry_after: WINDOW.saturating_sub(now.saturating_duration_since(window.start)),
                is_first: attempts == ATTEMPTS_MAX + 1,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn attempts_beyond_limit_are_rate_limited_until_window_ends() {
        let (attempts, now) = (FailedAttempts::default(), Instant::now());
        let here = address("192.0.2.7");
        assert!((0..ATTEMPTS_MAX).all(|_| attempts.record(here, now) == Decision::Reject));
        let later = now + Duration::from_secs(20);
        let limited = |is_first| Decision::RateLimited { retry_after: Duration::from_secs(40), is_first };
        assert_eq!(attempts.record(here, later), limited(true));
        assert_eq!(attempts.record(here, later), limited(false));
        assert_eq!(attempts.record(address("192.0.2.8"), later), Decision::Reject);
        assert_eq!(attempts.record(here, now + WINDOW), Decision::Reject);
    }

    #[test]
    fn ipv6_network_counts_as_one_client() {
        let (attempts, now) = (FailedAttempts::default(), Instant::now());
        for host in 0..ATTEMPTS_MAX {
            attempts.record(address(&format!("2001:db8::{host:x}")), now);
        }
        assert!(matches!(attempts.record(address("2001:db8::ffff"), now), Decision::RateLimited { .. }));
        assert_eq!(attempts.record(address("2001:db8:0:1::1"), now), Decision::Reject);
    }

    #[test]
    fn number_of_tracked_networks_is_bounded() {
        let (attempts, now) = (FailedAttempts::default(), Instant::now());
        for number in 0..2 * u32::try_from(NETWORKS_MAX).unwrap() {
            attempts.record(IpAddr::from(number.to_be_bytes()), now + Duration::from_millis(1) * number);
        }
        assert!(attempts.0.lock().unwrap().len() <= NETWORKS_MAX);
    }
}
