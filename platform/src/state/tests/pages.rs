//! What operators read and change.

use std::cell::Cell;

use runtime::VALUE_BYTES_MAX;

use super::*;

/// The keys of all pages of a list, page by page.
async fn pages(test: &TestState, of: &KvList) -> Vec<Vec<String>> {
    let (mut list, mut pages) = (of.clone(), Vec::new());
    loop {
        let EntryPage { page, .. } = test.state.list(&test.target(), &list).await.unwrap();
        let bytes: usize = page.items.iter().map(|entry| entry.value.bytes().len()).sum();
        assert!(bytes < LIST_PAGE_BYTES_MAX as usize + VALUE_BYTES_MAX, "{bytes}");
        pages.push(page.items.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>());
        match (page.next, list.reverse) {
            (None, _) => return pages,
            (Some(next), false) => list.after = Some(next.to_string()),
            (Some(next), true) => list.before = Some(next.to_string()),
        }
    }
}

#[tokio::test]
async fn pages_end_by_their_bytes_and_have_every_entry_once() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let large = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX - 2));
    let keys: Vec<String> = (0..7).map(|number| format!("l/{number}")).collect();
    for name in &keys {
        test.set(name, &large).await.unwrap();
    }
    test.set("m", "1").await.unwrap();
    let forward = pages(&test, &list("l/", 1000, false)).await;
    assert_eq!(forward.concat(), keys);
    let lengths: Vec<usize> = forward.iter().map(Vec::len).collect();
    assert_eq!(lengths, [2, 2, 2, 1]);
    let mut backward = pages(&test, &list("l/", 1000, true)).await.concat();
    backward.reverse();
    assert_eq!(backward, keys);
    assert_eq!(pages(&test, &list("l/", 1, false)).await.len(), 7, "the last page says that it is the last");
    // Keys are one page, however large their values are.
    let listed = test.state.keys(&test.target(), &list("l/", 1000, false)).await.unwrap();
    assert_eq!((listed.items.len(), listed.next), (7, None));
    let listed = test.state.keys(&test.target(), &list("", 7, true)).await.unwrap();
    assert_eq!((listed.items[0].0.as_str(), listed.next), ("m", Some(key("l/1"))));
}

#[tokio::test]
async fn what_has_ended_is_on_no_page() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    assert_eq!(pages(&test, &list("", 10, false)).await, [Vec::<String>::new()], "nothing is stored");
    test.set_for("a", "1", Some(Duration::from_secs(1))).await.unwrap();
    test.set("b", "1").await.unwrap();
    assert_eq!(pages(&test, &list("", 10, false)).await, [["a", "b"]]);
    test.clock_ms.fetch_add(1000, Ordering::SeqCst);
    assert_eq!(pages(&test, &list("", 10, false)).await, [["b"]]);
    let listed = test.state.keys(&test.target(), &list("", 10, false)).await.unwrap();
    assert_eq!(listed.items, [(key("b"), None)]);
    assert_eq!((test.get("a").await, test.get("b").await.as_deref()), (None, Some("1")));
}

#[tokio::test]
async fn restored_entries_keep_the_time_at_which_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    test.set("a", "1").await.unwrap();
    let at = test.clock_ms.load(Ordering::SeqCst) + 12_345;
    let restore = |value| KvChange::Restore { value: json(value), expires_at_ms: Some(at) };
    test.clock_ms.fetch_add(45, Ordering::SeqCst);
    test.change_all(&[(key("a"), restore("0")), (key("a"), restore("2"))]).await.unwrap();
    let entry = test.state.get(&test.target(), &key("a")).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.expires_at_ms), (json("2"), Some(at)));
    test.set("a", "3").await.unwrap();
    let entry = test.state.get(&test.target(), &key("a")).await.unwrap().unwrap();
    assert_eq!(entry.expires_at_ms, None);
}

#[tokio::test]
async fn only_changes_that_can_be_made_are_audited() {
    let folder = tempfile::tempdir().unwrap();
    let test = TestState::open(folder.path()).await;
    let audited = Cell::new(0);
    let audit = || async {
        audited.set(audited.get() + 1);
        Ok(())
    };
    test.namespace().set_quota(100);
    let (of, small) = (test.target(), [(key("a"), set("1"))]);
    test.state.change_all(&of, &small, audit()).await.unwrap();
    assert_eq!(audited.get(), 1);
    let large = [(key("a"), set(&"1".repeat(100)))];
    let refused = test.state.change_all(&of, &large, audit()).await.unwrap_err();
    assert!(matches!(refused, AdministrationError::Rejected(_)), "{refused:?}");
    assert!(!test.state.delete(&of, &key("b"), audit()).await.unwrap());
    test.state.change_all(&of, &[], audit()).await.unwrap();
    assert_eq!(audited.get(), 1);
    assert!(test.state.delete(&of, &key("a"), audit()).await.unwrap());
    assert_eq!(audited.get(), 2);
    // Without its event, a change is not made.
    let unavailable = async { Err(StoreError::OutcomeUnknown) };
    test.state.change_all(&of, &small, unavailable).await.unwrap_err();
    assert_eq!(test.get("a").await, None);
}
