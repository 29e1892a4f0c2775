use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use store::AppId;
use uuid::Uuid;

use super::*;

const MIB: u64 = 1024 * 1024;

fn account(budget: &MemoryBudget, app: u128) -> Account {
    budget.account(AppId::from_uuid(Uuid::from_u128(app)))
}

/// Reserves as much as possible in steps of a mebibyte.
fn fill(account: &Account, purpose: Purpose) -> Reservation {
    let mut held = account.try_reserve(purpose, 0).unwrap();
    while held.try_grow(MIB).is_ok() {}
    held
}

#[test]
fn reservations_are_released() {
    let budget = MemoryBudget::new(64 * MIB);
    let app = account(&budget, 1);
    let mut held = app.try_reserve(Purpose::Requests, 2 * MIB).unwrap();
    held.try_grow(MIB).unwrap();
    assert_eq!((app.used_bytes(), budget.usage().used_bytes), (3 * MIB, 3 * MIB));
    held.shrink_to(MIB);
    assert_eq!((held.bytes(), app.used_bytes()), (MIB, MIB));
    let leaked = app.charge(Purpose::Leaked, 100 * MIB);
    assert!(matches!(held.try_grow(1), Err(OutOfMemory::App { .. })), "charged bytes count");
    drop((held, leaked));
    let usage = budget.usage();
    assert_eq!((app.used_bytes(), usage.used_bytes, usage.peak_bytes), (0, 0, 101 * MIB));
    assert!(usage.by_purpose.iter().all(|(_, bytes)| *bytes == 0));
}

#[test]
fn content_keeps_reservation_until_last_part_is_dropped() {
    let budget = MemoryBudget::new(64 * MIB);
    let app = account(&budget, 1);
    let mut content = app.try_reserve(Purpose::Responses, MIB).unwrap().into_bytes(vec![7; 1024]);
    let first = content.split_to(1);
    drop(content);
    assert_eq!((app.used_bytes(), first.as_ref()), (MIB, &[7][..]));
    drop(first);
    assert_eq!(app.used_bytes(), 0);
}

#[test]
fn app_does_not_exceed_its_share() {
    let budget = MemoryBudget::new(64 * MIB);
    let app = account(&budget, 1);
    let held = fill(&app, Purpose::Sources);
    assert_eq!(held.bytes(), 24 * MIB, "the rest is reserved for scripts");
    assert_eq!(budget.usage().rejections, 1);
    let again = account(&budget, 1);
    let running = fill(&again, Purpose::Scripts);
    assert_eq!(running.bytes(), 8 * MIB);
    let error = again.try_reserve(Purpose::Scripts, MIB).unwrap_err();
    let share = OutOfMemory::App { used_bytes: 32 * MIB, share_bytes: 32 * MIB, requested_bytes: MIB };
    assert_eq!(error, share, "all clones are one account");
    again.set_share(40 * MIB);
    assert!(app.try_reserve(Purpose::Scripts, MIB).is_ok());
}

#[test]
fn every_app_can_run_script_when_budget_is_used_up() {
    let budget = MemoryBudget::new(64 * MIB);
    let held: Vec<_> =
        [Purpose::Sources, Purpose::Responses, Purpose::Fetches, Purpose::Scripts, Purpose::Requests]
            .into_iter()
            .zip(1..)
            .map(|(purpose, app)| fill(&account(&budget, app), purpose))
            .collect();
    let small = account(&budget, 100);
    assert!(matches!(small.try_reserve(Purpose::Pushes, 8 * MIB), Err(OutOfMemory::Node { .. })));
    assert!(small.try_reserve(Purpose::Scripts, MIB).is_ok());
    assert!(budget.usage().used_bytes <= 64 * MIB);
    drop(held);
}

#[test]
fn full_node_rejects_apps_above_equal_part() {
    let budget = MemoryBudget::new(64 * MIB);
    let (greedy, other) = (account(&budget, 1), account(&budget, 2));
    greedy.set_share(96 * MIB);
    let held = fill(&greedy, Purpose::Fetches);
    assert_eq!(held.bytes(), 56 * MIB, "the only app");
    drop(held);
    let first = other.try_reserve(Purpose::Fetches, 16 * MIB).unwrap();
    let held = fill(&greedy, Purpose::Fetches);
    assert_eq!(held.bytes(), 32 * MIB);
    let more = fill(&other, Purpose::Fetches);
    assert_eq!(first.bytes() + more.bytes(), 24 * MIB, "up to the reserve");
}

#[test]
fn programs_are_evicted_before_rejection() {
    struct Programs(Mutex<Vec<Reservation>>);
    impl Evict for Programs {
        fn evict(&self, _: Option<AppId>, _: u64) -> u64 {
            self.0.lock().unwrap().pop().map_or(0, |program| program.bytes())
        }

        fn evict_unused(&self, _: Option<AppId>, _: u64) {}
    }
    let budget = MemoryBudget::new(64 * MIB);
    let app = account(&budget, 1);
    let programs = (0..16).map(|_| app.try_reserve(Purpose::Programs, MIB).unwrap()).collect();
    budget.set_evict(Box::new(Programs(Mutex::new(programs))));
    let held = app.try_reserve(Purpose::Sources, 20 * MIB).unwrap();
    assert_eq!(app.used_bytes(), 24 * MIB, "as many as necessary");
    assert_eq!(fill(&app, Purpose::Sources).bytes(), 4 * MIB);
    assert_eq!(held.bytes(), 20 * MIB);
}

#[tokio::test]
async fn background_evicts_before_memory_is_full() {
    struct Programs(Mutex<Vec<Reservation>>);
    impl Evict for Programs {
        fn evict(&self, _: Option<AppId>, _: u64) -> u64 {
            panic!("no foreground eviction");
        }

        fn evict_unused(&self, app: Option<AppId>, bytes: u64) {
            assert_eq!(app, Some(AppId::from_uuid(Uuid::from_u128(1))));
            let mut programs = self.0.lock().unwrap();
            let kept = programs.len() - usize::try_from(bytes.div_ceil(MIB)).unwrap().min(programs.len());
            programs.truncate(kept);
        }
    }
    let budget = MemoryBudget::new(64 * MIB);
    let (app, other) = (account(&budget, 1), account(&budget, 2));
    let programs = (0..22).map(|_| app.try_reserve(Purpose::Programs, MIB).unwrap()).collect();
    budget.set_evict(Box::new(Programs(Mutex::new(programs))));
    tokio::spawn(budget.clone().keep_headroom());
    let _others = other.try_reserve(Purpose::Sources, 20 * MIB).unwrap();
    for mib in 1..=20 {
        let held = app.try_reserve(Purpose::Sources, MIB).unwrap();
        std::mem::forget(held);
        // Of 24 MiB not reserved for running scripts, one and a half stay free.
        while app.used_bytes() > 22 * MIB + MIB / 2 {
            tokio::task::yield_now().await;
        }
        assert!(app.used_bytes() >= (mib * MIB).max(21 * MIB), "no more than necessary");
    }
}

#[test]
fn waiter_gets_released_memory() {
    let budget = MemoryBudget::new(64 * MIB);
    let app = account(&budget, 1);
    let held = fill(&app, Purpose::Pushes);
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting = pin!(app.reserve(Purpose::Pushes, 8 * MIB));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(held);
    let Poll::Ready(Ok(held)) = waiting.as_mut().poll(&mut context) else { panic!("there is memory") };
    assert_eq!(held.bytes(), 8 * MIB);
    let mut waiting = pin!(app.reserve(Purpose::Pushes, 33 * MIB));
    assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(Err(OutOfMemory::App { .. }))));
}

#[test]
fn reservations_of_many_threads_never_exceed_the_budget() {
    let budget = MemoryBudget::new(8 * MIB);
    std::thread::scope(|scope| {
        for app in 0..4 {
            let app = account(&budget, app);
            scope.spawn(move || {
                for _ in 0..10_000 {
                    drop(app.try_reserve(Purpose::Responses, MIB));
                }
            });
        }
    });
    let usage = budget.usage();
    assert!(usage.used_bytes == 0 && usage.peak_bytes <= 8 * MIB, "{usage:?}");
}
