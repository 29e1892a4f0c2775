//! How often wrong tokens came from an address.
//!
//! A token has 200 random bits, so nobody finds one by trying. What is bounded here is the work and the noise that trying
//! makes, and that somebody tries is told in the log. A right token is always taken, whatever else came from its address:
//! behind a proxy or a router many people share one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::network;

/// How many wrong tokens within [`SPAN`] are answered as wrong; more are answered 429.
pub(super) const WRONG_MAX: u32 = 10;

/// For how long they are counted together.
const SPAN: Duration = Duration::from_secs(60);

/// How many addresses are remembered at once. For one more, the one that began to be wrong first is forgotten.
const ADDRESSES_MAX: usize = 4096;

/// Who was wrong lately.
#[derive(Debug, Default)]
pub(super) struct Slips(Mutex<HashMap<IpAddr, Slip>>);

#[derive(Clone, Copy, Debug)]
struct Slip {
    since: Instant,
    count: u32,
}

/// What becomes of a wrong token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is answered as wrong.
    Wrong,
    /// There were too many. `first`: this is the first of them.
    TooMany { wait: Duration, first: bool },
}

impl Slips {
    /// Counts a wrong token from an address.
    pub(super) fn count(&self, address: IpAddr, now: Instant) -> Judged {
        let mut slips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if !slips.contains_key(&address) && slips.len() >= ADDRESSES_MAX {
            slips.retain(|_, slip| now.saturating_duration_since(slip.since) < SPAN);
            let oldest = slips.iter().min_by_key(|(_, slip)| slip.since).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| slips.len() >= ADDRESSES_MAX) {
                slips.remove(&oldest);
            }
        }
        let slip = slips.entry(address).or_insert(Slip { since: now, count: 0 });
        if now.saturating_duration_since(slip.since) >= SPAN {
            *slip = Slip { since: now, count: 0 };
        }
        slip.count = slip.count.saturating_add(1);
        match slip.count {
            ..=WRONG_MAX => Judged::Wrong,
            count => Judged::TooMany {
                wait: SPAN.saturating_sub(now.saturating_duration_since(slip.since)),
                first: count == WRONG_MAX + 1,
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
    fn the_eleventh_within_a_minute_is_too_many_and_the_next_minute_begins_anew() {
        let (slips, now) = (Slips::default(), Instant::now());
        let here = address("192.0.2.7");
        assert!((0..WRONG_MAX).all(|_| slips.count(here, now) == Judged::Wrong));
        let later = now + Duration::from_secs(20);
        let too_many = |first| Judged::TooMany { wait: Duration::from_secs(40), first };
        assert_eq!(slips.count(here, later), too_many(true));
        assert_eq!(slips.count(here, later), too_many(false));
        assert_eq!(slips.count(address("192.0.2.8"), later), Judged::Wrong);
        assert_eq!(slips.count(here, now + SPAN), Judged::Wrong);
    }

    #[test]
    fn one_network_of_ipv6_counts_as_one_address() {
        let (slips, now) = (Slips::default(), Instant::now());
        for host in 0..WRONG_MAX {
            slips.count(address(&format!("2001:db8::{host:x}")), now);
        }
        assert!(matches!(slips.count(address("2001:db8::ffff"), now), Judged::TooMany { .. }));
        assert_eq!(slips.count(address("2001:db8:0:1::1"), now), Judged::Wrong);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let (slips, now) = (Slips::default(), Instant::now());
        for number in 0..2 * u32::try_from(ADDRESSES_MAX).unwrap() {
            slips.count(IpAddr::from(number.to_be_bytes()), now + Duration::from_millis(1) * number);
        }
        assert!(slips.0.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
