//! Histories that are made by hand: the checker finds each anomaly, and nothing in a right history.

use std::time::Duration;

use tests::faults::SeededRandom;

use super::anomaly::Anomaly;
use super::checker::check;
use super::history::{Lists, Outcome, Step, Transaction};

fn append(key: &str, value: u64) -> Step {
    Step::Append { key: key.to_owned(), value }
}

fn read(key: &str, values: &[u64]) -> Step {
    Step::Read { key: key.to_owned(), values: values.to_vec() }
}

/// A committed transaction that takes these milliseconds.
fn ran(began: u64, ended: u64, steps: &[Step]) -> Transaction {
    let at = Duration::from_millis;
    let (began, ended, steps) = (at(began), at(ended), steps.to_vec());
    Transaction { client: 0, node: 0, began, ended, outcome: Outcome::Committed, steps }
}

fn unknown(began: u64, ended: u64, steps: &[Step]) -> Transaction {
    Transaction { outcome: Outcome::Unknown, ..ran(began, ended, steps) }
}

fn refused(began: u64, ended: u64, steps: &[Step]) -> Transaction {
    Transaction { outcome: Outcome::Refused, ..ran(began, ended, steps) }
}

fn stored(lists: &[(&str, &[u64])]) -> Lists {
    lists.iter().map(|(key, values)| ((*key).to_owned(), values.to_vec())).collect()
}

fn names(history: &[Transaction], at_the_end: &[(&str, &[u64])]) -> Vec<&'static str> {
    check(history, &stored(at_the_end)).iter().map(Anomaly::name).collect()
}

#[test]
fn right_history_passes() {
    let history = [
        ran(0, 10, &[append("x", 1)]),
        // Overlaps with the first one, and comes before it.
        ran(5, 20, &[read("x", &[])]),
        ran(5, 20, &[append("y", 2)]),
        ran(11, 30, &[read("x", &[1]), append("x", 3), read("x", &[1, 3]), read("y", &[])]),
        // Began later, and also comes before that one.
        ran(12, 13, &[read("y", &[])]),
        ran(31, 32, &[read("x", &[1, 3]), read("y", &[2])]),
        // Takes effect long after its connection was cut.
        unknown(33, 34, &[append("y", 4), append("x", 5)]),
        ran(40, 41, &[read("y", &[2]), read("x", &[1, 3])]),
        ran(50, 51, &[read("y", &[2, 4]), append("y", 6)]),
        // Has never happened.
        unknown(60, 61, &[append("x", 7)]),
        refused(62, 63, &[append("x", 8)]),
    ];
    assert_eq!(names(&history, &[("x", &[1, 3, 5]), ("y", &[2, 4, 6])]), [""; 0]);
}

#[test]
fn stale_read_is_found() {
    let history = [ran(0, 10, &[append("x", 1)]), ran(11, 20, &[read("x", &[])])];
    assert_eq!(names(&history, &[("x", &[1])]), ["stale read (G-single with real time)"]);
    // It says which transactions, and why.
    let found = check(&history, &stored(&[("x", &[1])]));
    let text = found[0].to_string();
    for part in ["append 1 to x", "x is empty", "it has not read 1 in x", "had ended before the other began"]
    {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    // At the same time, both orders are right.
    let history = [ran(0, 10, &[append("x", 1)]), ran(10, 20, &[read("x", &[])])];
    assert_eq!(names(&history, &[("x", &[1])]), [""; 0]);
}

#[test]
fn stale_read_is_found_among_many_transactions() {
    let key = |number: u64| format!("k{}", number % 7);
    let at_the_end = (0..7_u64).map(|key| (format!("k{key}"), (0..300).filter(|n| n % 7 == key).collect()));
    let at_the_end: Lists = at_the_end.collect();
    let until = |number: u64| -> Vec<u64> { (0..number).filter(|n| n % 7 == number % 7).collect() };
    let mut history: Vec<Transaction> =
        (0..300).map(|n| ran(n * 10, n * 10 + 8, &[read(&key(n), &until(n)), append(&key(n), n)])).collect();
    assert!(check(&history, &at_the_end).is_empty());
    // It read what was there three transactions before.
    history.push(ran(1_509, 1_510, &[read("k1", &until(148))]));
    let found = check(&history, &at_the_end);
    let [Anomaly::Cycle { cycle, .. }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(cycle.len(), 2, "{}", found[0]);
}

#[test]
fn reads_that_go_back_are_found() {
    let history = [
        // Takes until the end, so that only the two reads tell.
        ran(0, 100, &[append("x", 1)]),
        ran(10, 20, &[read("x", &[1])]),
        ran(21, 30, &[read("x", &[])]),
    ];
    assert_eq!(names(&history, &[("x", &[1])]), ["stale read (G-single with real time)"]);
}

#[test]
fn writes_against_real_time_are_found() {
    let history = [ran(0, 10, &[append("x", 1)]), ran(11, 20, &[append("x", 2)])];
    assert_eq!(names(&history, &[("x", &[2, 1])]), ["writes against real time"]);
    // The unknown one can take effect at any time after it began, and not before.
    let history = [unknown(0, 10, &[append("x", 1)]), ran(11, 20, &[append("x", 2)])];
    assert_eq!(names(&history, &[("x", &[2, 1])]), [""; 0]);
    let history = [ran(0, 10, &[append("x", 1)]), unknown(11, 20, &[append("x", 2)])];
    assert_eq!(names(&history, &[("x", &[2, 1])]), ["writes against real time"]);
}

#[test]
fn lost_update_is_found() {
    // Both read nothing and store a list of one value.
    let history =
        [ran(0, 10, &[read("x", &[]), append("x", 1)]), ran(0, 10, &[read("x", &[]), append("x", 2)])];
    assert_eq!(names(&history, &[("x", &[2])]), ["lost update"]);
    // Both values are there, but the second one has not seen the first.
    assert_eq!(names(&history, &[("x", &[1, 2])]), ["read skew (G-single)"]);
    // The end of a history is part of it.
    assert_eq!(names(&[ran(0, 10, &[append("x", 1)])], &[]), ["lost update"]);
    // A half of an unknown one is there.
    let history = [unknown(0, 10, &[append("x", 1), append("y", 2)])];
    assert_eq!(names(&history, &[("x", &[1])]), ["lost update"]);
}

#[test]
fn write_skew_is_found() {
    let history = [
        ran(0, 10, &[read("x", &[]), read("y", &[]), append("x", 1)]),
        ran(0, 10, &[read("x", &[]), read("y", &[]), append("y", 2)]),
    ];
    assert_eq!(names(&history, &[("x", &[1]), ("y", &[2])]), ["write skew (G2)"]);
    let history = [history[0].clone(), ran(0, 10, &[read("x", &[1]), read("y", &[]), append("y", 2)])];
    assert_eq!(names(&history, &[("x", &[1]), ("y", &[2])]), [""; 0]);
}

#[test]
fn read_skew_is_found() {
    let history =
        [ran(0, 10, &[append("x", 1), append("y", 2)]), ran(0, 10, &[read("x", &[1]), read("y", &[])])];
    assert_eq!(names(&history, &[("x", &[1]), ("y", &[2])]), ["read skew (G-single)"]);
}

#[test]
fn cycles_of_writes_and_reads_are_found() {
    let history =
        [ran(0, 10, &[append("x", 1), append("y", 2)]), ran(0, 10, &[append("x", 3), append("y", 4)])];
    assert_eq!(names(&history, &[("x", &[1, 3]), ("y", &[4, 2])]), ["dirty write (G0)"]);
    let history =
        [ran(0, 10, &[append("x", 1), read("y", &[2])]), ran(0, 10, &[append("y", 2), read("x", &[1])])];
    assert_eq!(names(&history, &[("x", &[1]), ("y", &[2])]), ["circular information flow (G1c)"]);
}

#[test]
fn values_that_cannot_be_there_are_found() {
    let never = "read of a value that was never appended";
    assert_eq!(names(&[ran(0, 10, &[read("x", &[1])])], &[("x", &[1])]), [never; 2]);
    // The value is another key's.
    let history = [ran(0, 10, &[append("y", 1)]), ran(11, 20, &[read("x", &[1])])];
    assert!(names(&history, &[("y", &[1])]).contains(&never));
    let history = [refused(0, 10, &[append("x", 1)]), ran(5, 20, &[read("x", &[1])])];
    assert_eq!(names(&history, &[("x", &[1])]), ["aborted read"; 2]);
    // A lost answer, whose request was sent again by something in between.
    let history = [ran(0, 10, &[append("x", 1)]), ran(11, 20, &[read("x", &[1, 1])])];
    assert!(names(&history, &[("x", &[1, 1])]).contains(&"value that was appended twice"));
}

#[test]
fn parts_of_a_transaction_are_found() {
    let history = [ran(0, 10, &[append("x", 1), append("x", 2)]), ran(5, 20, &[read("x", &[1])])];
    assert_eq!(names(&history, &[("x", &[1, 2])]), ["intermediate read"]);
    assert_eq!(names(&history[..1], &[("x", &[2, 1])]), ["internal inconsistency"]);
    // Another one wrote in between.
    let history = [history[0].clone(), ran(0, 10, &[append("x", 3)])];
    assert_eq!(names(&history, &[("x", &[1, 3, 2])]), ["dirty write (G0)"]);
}

#[test]
fn transaction_of_two_moments_is_found() {
    let one = ran(0, 10, &[append("x", 1)]);
    for steps in [
        vec![read("x", &[]), read("x", &[1])],
        vec![append("x", 2), read("x", &[1])],
        vec![read("x", &[1]), append("x", 2), read("x", &[2])],
    ] {
        let found = names(&[one.clone(), ran(0, 10, &steps)], &[("x", &[1, 2])]);
        assert!(found.contains(&"internal inconsistency"), "{steps:?}: {found:?}");
    }
}

#[test]
fn different_orders_are_found() {
    let writers = [ran(0, 10, &[append("x", 1)]), ran(0, 10, &[append("x", 2)])];
    let history = [writers[0].clone(), writers[1].clone(), ran(0, 20, &[read("x", &[2])])];
    assert_eq!(names(&history, &[("x", &[1, 2])]), ["incompatible orders"]);
}

/// Random transactions that take effect one after the other, each at some moment between its begin and its end.
fn random_history(random: &mut SeededRandom, transactions: u64) -> (Vec<Transaction>, Lists) {
    let (mut history, mut lists) = (Vec::new(), Lists::new());
    for number in 0..transactions {
        let steps: Vec<Step> = (0..1 + random.below(4))
            .map(|step| {
                let key = format!("k{}", random.below(3) + number / 40);
                let list = lists.entry(key.clone()).or_default();
                match random.below(2) {
                    0 => Step::Read { key, values: list.clone() },
                    _ => {
                        list.push(number * 10 + step);
                        Step::Append { key, value: number * 10 + step }
                    }
                }
            })
            .collect();
        let at = 1_000 + number * 10;
        let transaction = ran(at - random.below(60), at + random.below(60), &steps);
        history.push(match random.below(10) {
            0 => unknown_of(transaction),
            _ => transaction,
        });
    }
    lists.retain(|_, list| !list.is_empty());
    (history, lists)
}

/// What is known of it without its response.
fn unknown_of(transaction: Transaction) -> Transaction {
    let appends = transaction.appends().map(|(key, value)| append(key, value)).collect();
    Transaction { outcome: Outcome::Unknown, steps: appends, ..transaction }
}

/// Makes a random read a stale one: it does not see its last value, whose writer had ended before. Returns whether
/// there was one.
fn make_stale(random: &mut SeededRandom, history: &mut [Transaction]) -> bool {
    let ended = |value: u64| {
        let writer = &history[(value / 10) as usize];
        (writer.outcome == Outcome::Committed).then_some(writer.ended)
    };
    let mut candidates = Vec::new();
    for (number, transaction) in history.iter().enumerate() {
        for (step, of) in transaction.steps.iter().enumerate() {
            let Step::Read { values, .. } = of else { continue };
            let last = values.last().filter(|value| **value / 10 != number as u64);
            if last.and_then(|last| ended(*last)).is_some_and(|ended| ended < transaction.began) {
                candidates.push((number, step));
            }
        }
    }
    if candidates.is_empty() {
        return false;
    }
    let (number, step) = candidates[random.below(candidates.len() as u64) as usize];
    if let Step::Read { values, .. } = &mut history[number].steps[step] {
        values.pop();
    }
    true
}

#[test]
fn stale_read_in_a_random_history_is_found() {
    let mut random = SeededRandom::new("stale_read_in_a_random_history_is_found");
    let mut stale = 0;
    for _ in 0..100 {
        let (mut history, stored) = random_history(&mut random, 80);
        let found = check(&history, &stored);
        assert!(found.is_empty(), "the history is right: {}", found[0]);
        if make_stale(&mut random, &mut history) {
            stale += 1;
            assert!(!check(&history, &stored).is_empty(), "a stale read is not found");
        }
    }
    assert!(stale > 50, "{stale}");
}
