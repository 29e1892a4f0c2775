//! Behaviour of one namespace.

use std::sync::atomic::AtomicBool;

use runtime::{Failure, FailureKind, KvNumber, VALUE_BYTES_MAX};
use store::{NamespaceCommit, StateEntry, StateValue};
use tokio::time::timeout;

use super::*;

fn failure(result: Result<(), NotAccepted>) -> Failure {
    match result {
        Err(NotAccepted::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn add(number: i64) -> KvChange {
    KvChange::Add { number: KvNumber::Integer(number), ttl: None }
}

#[tokio::test]
async fn what_is_stored_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = TestState::open(folder.path()).await;
    first.set("a", "1").await.unwrap();
    first.set("b", "2").await.unwrap();
    assert!(first.delete("a").await.unwrap());
    assert!(!first.delete("a").await.unwrap());
    let usage = first.usage().await;
    first.store.close().await;
    drop(first);
    let second = TestState::open(folder.path()).await;
    assert_eq!((second.get("a").await, second.get("b").await.as_deref()), (None, Some("2")));
    let read = second.usage().await;
    assert_eq!((read.bytes, read.entries, read.version), (usage.bytes, 1, 3));
    assert_eq!(read.bytes, 32 + 1 + 1);
}

#[tokio::test]
async fn snapshot_moves_on_while_nothing_read_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let namespace = test.namespace();
    test.set("a", "1").await.unwrap();
    let mut pass = Pass::begin(&namespace).await;
    assert_eq!(pass.get("a").await.unwrap().as_deref(), Some("1"));
    test.set("b", "2").await.unwrap();
    assert_eq!(pass.get("b").await.unwrap().as_deref(), Some("2"), "`a` has not changed");
    test.set("a", "3").await.unwrap();
    assert_eq!(pass.get("b").await.unwrap().as_deref(), Some("2"), "`b` has not changed either");
    test.set("b", "4").await.unwrap();
    assert_eq!(pass.get("b").await, Err(()), "`a` and `b` were never 1 and 4 together");
}

#[tokio::test]
async fn one_of_two_passes_that_read_what_the_other_writes_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let namespace = test.namespace();
    let (mut one, mut two) = (Pass::begin(&namespace).await, Pass::begin(&namespace).await);
    assert_eq!((one.get("a").await, two.get("b").await), (Ok(None), Ok(None)));
    one.change("b", set("1")).unwrap();
    two.change("a", set("1")).unwrap();
    one.commit().await.unwrap();
    assert!(matches!(two.commit().await, Err(NotAccepted::Conflict)));
    let conflicts = test.usage().await.conflicts;
    assert_eq!(conflicts, [(key("b"), 1)]);
}

#[tokio::test]
async fn blind_changes_never_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let namespace = test.namespace();
    let (mut one, mut two) = (Pass::begin(&namespace).await, Pass::begin(&namespace).await);
    for pass in [&mut one, &mut two] {
        pass.change("n", add(2)).unwrap();
        let item = Bytes::from_static(b"\"x\"");
        pass.change("list", KvChange::Append { item, keep: None, ttl: None }).unwrap();
    }
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    assert_eq!(test.get("n").await.as_deref(), Some("4"));
    assert_eq!(test.get("list").await.as_deref(), Some("[\"x\",\"x\"]"));
}

#[tokio::test]
async fn pass_sees_its_own_changes() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    for (name, value) in [("a/1", "1"), ("a/2", "2"), ("a/3", "3"), ("n", "5")] {
        test.set(name, value).await.unwrap();
    }
    let mut pass = Pass::begin(&test.namespace()).await;
    pass.change("a/2", KvChange::Delete).unwrap();
    pass.change("a/4", set("4")).unwrap();
    pass.change("n", add(1)).unwrap();
    pass.change("n", add(1)).unwrap();
    assert_eq!(pass.keys(&list("a/", 2, false)).await.unwrap(), ["a/1", "a/3"]);
    assert_eq!(pass.keys(&list("a/", 2, true)).await.unwrap(), ["a/4", "a/3"]);
    assert_eq!(pass.get("n").await.unwrap().as_deref(), Some("7"));
    let mark = pass.0.mark();
    pass.change("n", add(1)).unwrap();
    pass.change("a/4", add(1)).unwrap();
    pass.change("a/2", set("9")).unwrap();
    pass.0.undo_to(mark);
    assert_eq!(pass.get("n").await.unwrap().as_deref(), Some("7"));
    assert_eq!(pass.get("a/4").await.unwrap().as_deref(), Some("4"));
    pass.commit().await.unwrap();
    assert_eq!((test.get("n").await.as_deref(), test.get("a/2").await), (Some("7"), None));
}

#[tokio::test]
async fn lists_conflict_only_where_they_have_walked() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    for name in ["p/1", "p/2", "p/3", "p/4"] {
        test.set(name, "1").await.unwrap();
    }
    for (changed, is_accepted) in [("p/1", true), ("p/0", true), ("p/3", false), ("p/5", false), ("q", true)]
    {
        let mut pass = Pass::begin(&test.namespace()).await;
        let newest = pass.keys(&list("p/", 2, true)).await.unwrap();
        pass.change("x", set("1")).unwrap();
        test.set(changed, "2").await.unwrap();
        assert_eq!(pass.commit().await.is_ok(), is_accepted, "{changed} after {newest:?}");
    }
}

#[tokio::test]
async fn long_lists_are_read_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let large = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    for number in 0..12 {
        test.set(&format!("l/{number:02}"), &large).await.unwrap();
    }
    let mut pass = Pass::begin(&test.namespace()).await;
    let keys = pass.keys(&list("l/", 100, true)).await.unwrap();
    assert_eq!((keys.len(), keys[0].as_str(), keys[11].as_str()), (12, "l/11", "l/00"));
    for number in 12..20 {
        test.set(&format!("l/{number:02}"), &large).await.unwrap();
    }
    let mut pass = Pass::begin(&test.namespace()).await;
    let read = loop {
        match pass.0.list(&list("l/", 100, false)) {
            HostCall::Ready(read) => break read,
            HostCall::Pending(pending) => pending.await,
            HostCall::Restart => panic!("nothing changes"),
        }
    };
    assert_eq!(read, Err(KvError::ReadBytes(READ_BYTES_MAX)));
}

#[tokio::test]
async fn keys_with_a_ttl_end_at_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let ttl = Some(Duration::from_secs(10));
    test.set_for("t", "1", ttl).await.unwrap();
    test.set_for("u", "1", ttl).await.unwrap();
    let namespace = test.namespace();
    let mut early = Pass::begin(&namespace).await;
    assert_eq!(early.get("t").await.unwrap().as_deref(), Some("1"));
    test.clock_ms.fetch_add(10_000, Ordering::SeqCst);
    assert_eq!(early.get("u").await.unwrap().as_deref(), Some("1"), "the pass has one moment");
    early.change("x", set("1")).unwrap();
    assert!(matches!(early.commit().await, Err(NotAccepted::Conflict)), "`t` is over now");
    let mut late = Pass::begin(&namespace).await;
    assert_eq!(late.get("t").await, Ok(None));
    assert!(late.keys(&list("", 10, false)).await.unwrap().is_empty());
    // The clock of the machine is set back.
    test.clock_ms.fetch_sub(5_000, Ordering::SeqCst);
    let mut later = Pass::begin(&namespace).await;
    assert_eq!(later.get("t").await, Ok(None));
}

#[tokio::test]
async fn ttl_ends_with_a_new_value_and_stays_with_a_sum() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let ttl = Some(Duration::from_secs(10));
    for name in ["a", "b", "c"] {
        test.set_for(name, "1", ttl).await.unwrap();
    }
    let changes = [
        (key("a"), set("2")),
        (key("b"), add(1)),
        (key("c"), KvChange::Add { number: KvNumber::Integer(1), ttl: Some(Duration::from_secs(20)) }),
    ];
    test.change_all(&changes).await.unwrap();
    test.clock_ms.fetch_add(10_000, Ordering::SeqCst);
    assert_eq!((test.get("a").await.as_deref(), test.get("b").await), (Some("2"), None));
    assert_eq!(test.get("c").await.as_deref(), Some("2"));
    test.clock_ms.fetch_add(10_000, Ordering::SeqCst);
    assert_eq!(test.get("c").await, None);
}

#[tokio::test]
async fn expired_keys_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let ttl = Some(Duration::from_secs(10));
    test.set("stays", "1").await.unwrap();
    test.set_for("t", "1", ttl).await.unwrap();
    test.clock_ms.fetch_add(10_000, Ordering::SeqCst);
    test.state.shared.note_expiry(0);
    let usage = test.usage_when(|usage| usage.entries == 1).await;
    assert_eq!(usage.bytes, 38);
    while !test.store.expired_entries(i64::MAX, 10).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn expired_keys_that_were_written_again_stay() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let namespace = test.namespace();
    for name in ["again", "later", "over"] {
        test.store_expired(name, "1").await;
    }
    let found = test.store.expired_entries(i64::MAX, 10).await.unwrap();
    test.set("again", "22").await.unwrap();
    let ttl = Some(Duration::from_secs(1));
    test.set_for("later", "333", ttl).await.unwrap();
    let again = async || panic!("the log tells what was written since");
    assert!(namespace.delete_expired(&found, again).await.unwrap());
    let usage = test.usage().await;
    assert_eq!((usage.entries, usage.bytes), (2, 2 * 32 + 5 + 2 + 5 + 3));
    assert!(!namespace.delete_expired(&found, again).await.unwrap(), "they are deleted already");
    assert_eq!(test.usage().await, usage);
}

#[tokio::test]
async fn expired_keys_are_read_again_if_the_log_does_not_reach_back() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let namespace = test.namespace();
    test.store_expired("t", "1").await;
    let read = || test.store.expired_entries(i64::MAX, 10);
    let found = read().await.unwrap();
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    for number in 0..6 {
        test.set(&format!("k{number}"), &value).await.unwrap();
    }
    let is_alone = AtomicBool::new(false);
    let again = async || {
        is_alone.store(timeout(Duration::ZERO, namespace.share_turn()).await.is_err(), Ordering::SeqCst);
        read().await
    };
    assert!(namespace.delete_expired(&found, again).await.unwrap());
    assert!(is_alone.into_inner(), "nothing is accepted while they are read again");
    assert_eq!(read().await.unwrap(), []);
}

#[tokio::test]
async fn large_expired_values_of_an_app_without_memory_do_not_stop_the_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryBudget::new(512 * MIB);
    let test = TestState::open_with(folder.path(), memory.clone()).await;
    let ttl = Some(Duration::from_secs(10));
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    // More than an execution can read.
    for number in 0..40 {
        test.set_for(&format!("k{number:02}"), &value, ttl).await.unwrap();
    }
    let other = StateTarget { app: AppId::from_uuid(Uuid::from_u128(2)), name: NamespaceName::Production };
    let change = (key("t"), KvChange::Set { value: json("1"), ttl });
    test.state.change_all(&other, &[change], unaudited()).await.unwrap();
    test.namespace().throw_away(NotStored::Failed);
    let account = memory.account(app());
    account.set_share(0);
    test.clock_ms.fetch_add(10_000, Ordering::SeqCst);
    test.state.shared.note_expiry(0);
    let usage = test.usage_when(|usage| usage.entries == 0).await;
    assert_eq!(usage.bytes, 0);
    let is_empty = async || test.usage_of(other.app).await.entries == 0;
    while !is_empty().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn quota_stops_what_grows_and_lets_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let namespace = test.namespace();
    namespace.set_quota(1000);
    test.set("a", &format!("\"{}\"", "x".repeat(900))).await.unwrap();
    let mut pass = Pass::begin(&namespace).await;
    pass.change("b", set(&format!("\"{}\"", "x".repeat(100)))).unwrap();
    let refused = failure(pass.commit().await);
    assert_eq!(refused.kind, FailureKind::State);
    assert!(refused.message.contains("`b`") && refused.message.contains("1000"), "{}", refused.message);
    namespace.set_quota(10);
    test.set("a", "\"smaller\"").await.unwrap();
    assert!(test.delete("a").await.unwrap());
    assert!(matches!(test.set("a", "\"12345678901\"").await, Err(AdministrationError::Rejected(_))));
}

#[tokio::test]
async fn blind_change_that_does_not_fit_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    test.set("text", "\"x\"").await.unwrap();
    let mut pass = Pass::begin(&test.namespace()).await;
    pass.change("other", set("1")).unwrap();
    pass.change("text", add(1)).unwrap();
    let refused = failure(pass.commit().await);
    assert_eq!((refused.kind, refused.message.as_str()), (FailureKind::State, "`text` holds no number"));
    assert_eq!(test.get("other").await, None);
    let mut own = Pass::begin(&test.namespace()).await;
    own.change("mine", set("\"x\"")).unwrap();
    assert_eq!(own.change("mine", add(1)), Err(KvError::NoNumber(key("mine"))));
}

#[tokio::test]
async fn executions_write_a_limited_amount() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let mut pass = Pass::begin(&test.namespace()).await;
    for _ in 0..WRITES_MAX {
        pass.change("n", add(1)).unwrap();
    }
    assert_eq!(pass.change("n", add(1)), Err(KvError::Writes(WRITES_MAX)));
    let mut pass = Pass::begin(&test.namespace()).await;
    let large = set(&"1".repeat(VALUE_BYTES_MAX));
    for _ in 0..3 {
        pass.change("n", large.clone()).unwrap();
    }
    assert_eq!(pass.change("n", large), Err(KvError::WriteBytes(WRITE_BYTES_MAX)));
}

#[tokio::test]
async fn appended_items_count_with_their_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let array = format!("[\"{}\"]", "x".repeat(VALUE_BYTES_MAX - 100));
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        test.set(name, &array).await.unwrap();
    }
    let appended = async |names: &[&str]| {
        let mut pass = Pass::begin(&test.namespace()).await;
        for name in names {
            let item = Bytes::from_static(b"1");
            pass.change(name, KvChange::Append { item, keep: None, ttl: None }).unwrap();
        }
        pass.commit().await
    };
    appended(&names[..3]).await.unwrap();
    let refused = failure(appended(&names).await);
    assert_eq!(refused.kind, FailureKind::State);
    assert_eq!(refused.message, KvError::WriteBytes(WRITE_BYTES_MAX).to_string());
    assert_eq!(test.get("e").await.map(|value| value.len()), Some(array.len()));
}

#[tokio::test]
async fn pass_after_pass_reads_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    for number in 0..10 {
        test.set(&format!("k{number}"), &value).await.unwrap();
    }
    test.namespace().throw_away(NotStored::Failed);
    let namespace = test.namespace();
    namespace.ensure_loaded().await.unwrap();
    let session = Session::new(Arc::clone(&namespace));
    let keys: Vec<KvKey> = (0..10).map(|number| key(&format!("k{number}"))).collect();
    for round in 0..6 {
        // Each pass must read them again from the database.
        test.set("other", &value).await.unwrap();
        test.namespace().throw_away(NotStored::Failed);
        loading::load(&namespace, Arc::clone(&session), keys.clone()).await;
        assert!(!session.has_failed(), "in round {round}");
    }
}

#[tokio::test]
async fn writes_count_in_the_memory_of_the_app() {
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryBudget::new(64 * MIB);
    let test = TestState::open_with(folder.path(), memory.clone()).await;
    let account = memory.account(app());
    account.set_share(MIB + MIB / 2);
    let mut pass = Pass::begin(&test.namespace()).await;
    let value = set(&"1".repeat(VALUE_BYTES_MAX));
    pass.change("a", value.clone()).unwrap();
    assert!(!pass.0.session().has_failed());
    pass.change("b", value).unwrap();
    let refused = pass.0.session().take_failure().unwrap();
    assert_eq!(refused.kind, FailureKind::NodeMemory);
    drop(pass);
    assert!(account.used_bytes() < MIB);
}

#[tokio::test]
async fn transaction_on_state_that_another_process_changed_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    test.set("a", "1").await.unwrap();
    let namespace = test.namespace();
    let mut pass = Pass::begin(&namespace).await;
    assert_eq!(pass.get("a").await.unwrap().as_deref(), Some("1"));
    let row = test.store.namespace(app(), &NamespaceName::Production).await.unwrap().unwrap();
    let from = row.position;
    let to = store::StatePosition { version: from.version + 1, commit: Some(store::CommitId::random()) };
    let value = StateValue::Json(b"7".to_vec());
    let puts = vec![StateEntry { key: "a".to_owned(), value, version: to.version, expires_at_ms: None }];
    let (bytes, entries, none) = (row.bytes, row.entries, Vec::new());
    let commit =
        NamespaceCommit { id: row.id, from, to, bytes, entries, puts, deletes: none, scheduled: Vec::new() };
    test.store.commit_state(&[commit]).await.unwrap();
    // The node does not know of it when it accepts the transaction.
    pass.change("a", set("2")).unwrap();
    let accepted = namespace.accept_when_ready(&pass.0).await.unwrap();
    assert_eq!(namespace.stored(accepted).await, Err(NotStored::Outdated));
    let mut pass = Pass::begin(&namespace).await;
    assert_eq!(pass.get("a").await.unwrap().as_deref(), Some("7"));
    pass.change("b", set("2")).unwrap();
    let accepted = namespace.accept_when_ready(&pass.0).await.unwrap();
    namespace.stored(accepted).await.unwrap();
    assert_eq!(test.get("b").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn failed_group_takes_with_it_what_was_accepted_later() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    test.set("a", "1").await.unwrap();
    let namespace = test.namespace();
    test.state.shared.faults.switches.failing_groups.store(1, Ordering::SeqCst);
    let mut first = Pass::begin(&namespace).await;
    first.change("a", set("2")).unwrap();
    let accepted = namespace.accept(&first.0).unwrap();
    let mut second = Pass::begin(&namespace).await;
    assert_eq!(second.get("a").await.unwrap().as_deref(), Some("2"), "it is accepted");
    let seen = namespace.accept(&second.0).unwrap();
    assert!(!namespace.is_stored(&seen));
    assert_eq!(
        (namespace.stored(accepted).await, namespace.stored(seen).await),
        (Err(NotStored::Failed), Err(NotStored::Failed))
    );
    test.state.shared.faults.switches.failing_groups.store(0, Ordering::SeqCst);
    assert_eq!(test.get("a").await.as_deref(), Some("1"));
    second.change("b", set("1")).unwrap();
    assert!(matches!(namespace.accept_when_ready(&second.0).await, Err(NotAccepted::Conflict)));
    test.set("a", "3").await.unwrap();
    assert_eq!(test.get("a").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn cache_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open_with(folder.path(), MemoryBudget::new(64 * MIB)).await;
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    for number in 0..24 {
        test.set(&format!("k{number}"), &value).await.unwrap();
    }
    assert!(test.state.cached_bytes() <= 8 * MIB, "{}", test.state.cached_bytes());
    for number in 0..24 {
        assert_eq!(test.get(&format!("k{number}")).await.as_deref(), Some(value.as_str()));
    }
    assert!(test.state.cached_bytes() <= 8 * MIB);
}

#[tokio::test]
async fn app_with_little_memory_writes_on_and_takes_no_cache_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryBudget::new(512 * MIB);
    let test = TestState::open_with(folder.path(), memory.clone()).await;
    let account = memory.account(app());
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX / 4));
    account.set_share(4 * MIB);
    for number in 0..64 {
        // Values are evicted for each of them, and what was stored leaves the log.
        test.set(&format!("k{}", number % 24), &value).await.unwrap();
        assert_eq!(test.state.cached_bytes(), test.namespace().cached_bytes(), "in round {number}");
    }
}

#[tokio::test]
async fn cache_is_shared_by_apps_and_not_by_namespaces() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open_with(folder.path(), MemoryBudget::new(64 * MIB)).await;
    let value = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX / 2));
    let neighbour = AppId::from_uuid(Uuid::from_u128(2));
    let of_neighbour = StateTarget { app: neighbour, name: NamespaceName::Production };
    for number in 0..4 {
        test.set_of(&of_neighbour, &format!("k{number}"), &value).await;
    }
    let production = test.state.namespace(neighbour, &NamespaceName::Production, QUOTA_BYTES);
    let own = production.cached_bytes();
    assert!(own > 2 * MIB);
    // Each preview caches less than the neighbour, and all of them together much more than fits.
    for number in 0..32 {
        let of_preview = StateTarget { app: app(), name: NamespaceName::Preview(format!("b{number}")) };
        let _live = test.state.namespace(app(), &of_preview.name, QUOTA_BYTES);
        test.set_of(&of_preview, "k", &value).await;
        assert_eq!(production.cached_bytes(), own, "nothing is evicted for preview {number}");
    }
    assert!(test.state.cached_bytes() <= 8 * MIB);
}

#[tokio::test]
async fn namespaces_that_nothing_uses_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let live = test.namespace();
    for number in 0..100 {
        let of = StateTarget { app: app(), name: NamespaceName::Preview(format!("b{number}")) };
        test.set_of(&of, "k", "1").await;
    }
    let kept = test.state.shared.namespaces()[&app()].len();
    // The committer drops the last one soon.
    assert!(kept <= 4, "{kept}");
    assert!(Arc::ptr_eq(&live, &test.namespace()), "the live one stays");
    let first = StateTarget { app: app(), name: NamespaceName::Preview("b0".to_owned()) };
    assert!(test.state.get(&first, &key("k")).await.unwrap().is_some());
}

#[tokio::test]
async fn group_of_a_namespace_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    test.set("a", "1").await.unwrap();
    let namespace = test.namespace();
    let accept = async |text: &str| {
        let mut pass = Pass::begin(&namespace).await;
        pass.change(text, set("2")).unwrap();
        namespace.accept_when_ready(&pass.0).await.unwrap()
    };
    // The committer does not run between these.
    let before = accept("b").await;
    let (id, group) = namespace.begin_group().unwrap();
    namespace.throw_away(NotStored::Failed);
    assert!(!namespace.is_stored(&before), "the outcome is not known");
    namespace.ensure_loaded().await.unwrap();
    let after = accept("c").await;
    namespace.note_stored(id.unwrap(), &group);
    assert_eq!(namespace.stored(before).await, Ok(()));
    assert!(!namespace.is_stored(&after), "the group before is not the one of the new epoch");
    namespace.stored(after).await.unwrap();
    assert_eq!((test.get("b").await, test.get("c").await.as_deref()), (None, Some("2")));
}

#[tokio::test]
async fn deleted_namespace_is_empty_and_refuses_what_began_before() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    test.set("a", "1").await.unwrap();
    let mut before = Pass::begin(&test.namespace()).await;
    before.change("b", set("1")).unwrap();
    test.state.delete_namespace(&test.target()).await.unwrap();
    assert!(before.commit().await.is_err());
    assert_eq!((test.get("a").await, test.get("b").await), (None, None));
    test.set("a", "2").await.unwrap();
    assert_eq!(test.get("a").await.as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sum_of_concurrent_increments_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let test = Arc::new(TestState::open(folder.path()).await);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let namespace = test.namespace();
            tokio::spawn(async move {
                for _ in 0..50 {
                    loop {
                        let mut pass = Pass::begin(&namespace).await;
                        let Ok(value) = pass.get("n").await else { continue };
                        let next = value.map_or(0, |value| value.parse::<i64>().unwrap()) + 1;
                        pass.change("n", set(&next.to_string())).unwrap();
                        match pass.commit().await {
                            Ok(()) => break,
                            Err(NotAccepted::Conflict) => {}
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(test.get("n").await.as_deref(), Some("800"));
    let counts = test.state.metrics().counts();
    assert_eq!(counts.commits, 800);
    assert!(counts.groups.iter().sum::<u64>() < 800, "commits are stored in groups: {counts:?}");
}
