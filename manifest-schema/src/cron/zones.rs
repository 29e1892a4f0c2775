//! Due times in every IANA zone over two years, compared with a model that steps through local time minute by minute.

use chrono::Offset as _;

use super::*;
use crate::zone::ZoneData;

/// 2026-01-01 and 2028-01-01, in minutes since 1970.
const CHECKED_MINUTES: std::ops::Range<i64> = 29_453_760..30_504_960;

/// The checked range on each side of a change, in minutes.
const MARGIN_MINUTES: i64 = 26 * 60;

/// An expression and its meaning as simple numbers.
struct SimpleCron {
    expression: String,
    minutes: Vec<i64>,
    /// Every hour if empty.
    hours: Vec<i64>,
    /// 0 is Sunday.
    weekday: Option<i64>,
}

impl SimpleCron {
    fn new(minutes: &[i64], hours: &[i64], weekday: Option<i64>) -> Self {
        let list = |numbers: &[i64]| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let hour = if hours.is_empty() { "*".to_owned() } else { list(hours) };
        let day = weekday.map_or("*".to_owned(), |day| day.to_string());
        let expression = format!("{} {hour} * * {day}", list(minutes));
        Self { expression, minutes: minutes.to_vec(), hours: hours.to_vec(), weekday }
    }

    /// Whether it matches a local minute, counted from 1970-01-01T00:00.
    fn matches(&self, shown: i64) -> bool {
        // 1970 began on a Thursday.
        let (day, minute) = (shown.div_euclid(1440), shown.rem_euclid(1440));
        self.minutes.contains(&(minute % 60))
            && (self.hours.is_empty() || self.hours.contains(&(minute / 60)))
            && self.weekday.is_none_or(|weekday| (day + 4).rem_euclid(7) == weekday)
    }

    /// The due minutes. A wall-clock expression runs through each local minute once, including skipped ones; an
    /// interval expression through all that occur.
    fn due(&self, clock: &LocalClock, from: i64, to: i64) -> Vec<i64> {
        let mut furthest = clock.local_minute(from);
        let mut due = Vec::new();
        for now in from + 1..=to {
            let shown = clock.local_minute(now);
            let is_due = if self.hours.is_empty() {
                self.matches(shown)
            } else {
                (furthest + 1..=shown).any(|passed| self.matches(passed))
            };
            furthest = furthest.max(shown);
            if is_due {
                due.push(now);
            }
        }
        due
    }
}

/// The offset ahead of UTC in minutes, from each of these minutes on.
struct LocalClock(Vec<(i64, i64)>);

impl LocalClock {
    fn of(zone: &Zone) -> Self {
        let ahead = |minute: i64| {
            let moment = at(minute * 60).with_timezone(zone);
            i64::from(moment.offset().fix().local_minus_utc()) / 60
        };
        let mut parts = vec![(i64::MIN, ahead(CHECKED_MINUTES.start - MARGIN_MINUTES))];
        for hour in (CHECKED_MINUTES.start - MARGIN_MINUTES..CHECKED_MINUTES.end + MARGIN_MINUTES).step_by(60)
        {
            if ahead(hour) != ahead(hour + 60) {
                let changed = (hour..=hour + 60).find(|minute| ahead(*minute) != ahead(hour)).unwrap();
                parts.push((changed, ahead(changed)));
            }
        }
        Self(parts)
    }

    fn local_minute(&self, minute: i64) -> i64 {
        let part = self.0.iter().rev().find(|(from, _)| *from <= minute).unwrap();
        minute + part.1
    }

    fn changes(&self) -> impl Iterator<Item = i64> {
        self.0.iter().skip(1).map(|(from, _)| *from)
    }
}

fn check(zone: &Zone, simple: &SimpleCron, clock: &LocalClock, from: i64, to: i64) {
    let cron = Cron::parse(&simple.expression, zone.clone()).unwrap();
    let (first, last) = (at(from * 60), at(to * 60));
    let walked = std::iter::successors(cron.next_after(first), |due| cron.next_after(*due));
    let walked: Vec<_> = walked.take_while(|due| *due <= last).collect();
    let expected: Vec<_> = simple.due(clock, from, to).into_iter().map(|minute| at(minute * 60)).collect();
    assert_eq!(walked, expected, "{} in {zone}", simple.expression);
    // `prev_or_at` finds the same; a sample suffices.
    for (earlier, later) in expected.iter().zip(expected.iter().skip(1)).step_by(7) {
        assert_eq!(
            cron.prev_or_at(*later - TimeDelta::seconds(1)),
            Some(*earlier),
            "{} in {zone}",
            simple.expression
        );
    }
}

/// A deterministic pseudorandom generator.
struct Prng(u64);

impl Prng {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % bound
    }

    fn some(&mut self, bound: i64) -> Vec<i64> {
        let mut numbers: Vec<i64> = (0..=self.below(3)).map(|_| self.below(bound)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

fn check_zone(number: usize, zone: &Zone) {
    let clock = LocalClock::of(zone);
    let mut prng = Prng(number as u64);
    // Most changes are at night.
    let nightly = SimpleCron::new(&[prng.below(60)], &[prng.below(4)], None);
    check(zone, &nightly, &clock, CHECKED_MINUTES.start, CHECKED_MINUTES.end);
    for change in clock.changes() {
        let drawn = SimpleCron::new(&prng.some(60), &prng.some(24), None);
        let night = SimpleCron::new(&[0, 30], &[0, 1, 2, 3, 23], None);
        let weekly = SimpleCron::new(&prng.some(60), &prng.some(4), Some(prng.below(7)));
        let half_hourly = SimpleCron::new(&[0, 30], &[], None);
        let hourly = SimpleCron::new(&prng.some(60), &[], None);
        for simple in [drawn, night, weekly, half_hourly, hourly] {
            check(zone, &simple, &clock, change - MARGIN_MINUTES, change + MARGIN_MINUTES);
        }
        let every_minute: Vec<i64> = (0..60).collect();
        check(zone, &SimpleCron::new(&every_minute, &[], None), &clock, change - 90, change + 90);
    }
}

#[test]
fn due_times_match_the_model_in_every_zone() {
    let data = ZoneData::default();
    let zones: Vec<(usize, Zone)> =
        data.names().iter().filter_map(|name| data.find(name).0).enumerate().collect();
    assert!(zones.len() > 500);
    let changes: usize = zones.iter().map(|(_, zone)| LocalClock::of(zone).changes().count()).sum();
    assert!(changes > 500, "many zones change their clocks: {changes}");
    std::thread::scope(|scope| {
        for part in zones.chunks(zones.len().div_ceil(4)) {
            scope.spawn(move || part.iter().for_each(|(number, zone)| check_zone(*number, zone)));
        }
    });
}
