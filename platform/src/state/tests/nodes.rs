//! Several nodes that change the same namespace in PostgreSQL, without notifications.

use std::process::Command;

use store::{Location, Store};

use super::history::{End, Load, Record, check, history_of};
use super::*;

/// Three nodes on one database.
struct Nodes {
    stores: Vec<Store>,
    states: Vec<State>,
}

/// Creates a database on the server of the tests.
fn database() -> Location {
    let server = std::env::var("PICLOUD_TEST_POSTGRES").expect("run the tests by tests/with-postgres");
    let name = format!("state_{}", Uuid::new_v4().simple());
    let created =
        Command::new("psql").args(["-qX", "-c", &format!("CREATE DATABASE {name}"), &server]).status();
    assert!(created.expect("psql is installed").success());
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    Location::Postgres(format!("{server}/{name}"))
}

impl Nodes {
    async fn start() -> Self {
        let location = database();
        let (mut stores, mut states) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let store = Store::open(&location).await.unwrap();
            let moments = Moments::new(|| chrono::Utc::now().timestamp_millis());
            states.push(State::with(Some(store.state()), moments, MemoryBudget::new(512 * MIB)));
            stores.push(store);
        }
        Self { stores, states }
    }

    fn namespaces(&self) -> Vec<Arc<Namespace>> {
        let of = |state: &State| state.namespace(app(), &NamespaceName::Production, QUOTA_BYTES);
        self.states.iter().map(of).collect()
    }

    async fn history(&self, seed: u64, transactions: u64) -> Vec<Record> {
        let load = Load { tasks: 9, transactions, seed, with_ttl: false };
        history_of(&self.namespaces(), &Arc::default(), load).await
    }

    async fn stop(self) {
        for store in self.stores {
            store.close().await;
        }
    }
}

/// The number of transactions of each task, and of histories.
fn length() -> (u64, u64) {
    match std::env::var("FAULTS").as_deref() {
        Ok("long") => (1000, 10),
        _ => (60, 2),
    }
}

/// Commits a change at a node.
async fn commit(namespace: &Arc<Namespace>, text: &str, value: &str) {
    loop {
        let mut pass = Pass::begin(namespace).await;
        pass.change(text, set(value)).unwrap();
        let accepted = match namespace.accept_when_ready(&pass.0).await {
            Ok(accepted) => accepted,
            Err(NotAccepted::Conflict) => continue,
            Err(error) => panic!("{error:?}"),
        };
        match namespace.stored(accepted).await {
            Ok(()) => return,
            Err(error) => assert_eq!(error, NotStored::Outdated),
        }
    }
}

/// What a new execution reads at a node.
async fn read(namespace: &Arc<Namespace>, text: &str) -> Option<String> {
    loop {
        let mut pass = Pass::begin(namespace).await;
        if let Ok(value) = pass.get(text).await {
            return value;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_transactions_on_several_nodes_are_serializable_in_real_time() {
    let (transactions, histories) = length();
    for seed in 0..histories {
        let nodes = Nodes::start().await;
        let records = nodes.history(seed, transactions).await;
        let model = check(&records).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let committed = records.iter().filter(|record| record.end == End::Committed).count();
        assert!(committed as u64 > transactions, "{committed}");
        let refused: u64 = nodes.states.iter().map(|state| state.metrics().counts().outdated_groups).sum();
        assert!(refused > 0, "the nodes did not meet");
        for state in &nodes.states {
            let of = StateTarget { app: app(), name: NamespaceName::Production };
            let entries = state.list(&of, &list("", 1000, false)).await.unwrap().page.items;
            let text = |entry: &ExportedEntry| String::from_utf8(entry.value.bytes().to_vec()).unwrap();
            let stored: Vec<_> = entries.iter().map(|entry| (entry.key.to_string(), text(entry))).collect();
            let expected: Vec<_> =
                model.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect();
            assert_eq!(stored, expected);
        }
        nodes.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cache_that_is_stale_after_a_lost_notification_is_found() {
    for seed in 0..20 {
        let nodes = Nodes::start().await;
        for state in &nodes.states {
            state.shared.faults.switches.trusts_memory.store(true, Ordering::SeqCst);
        }
        let records = nodes.history(seed, 60).await;
        nodes.stop().await;
        if check(&records).is_err() {
            return;
        }
    }
    panic!("it is not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_far_behind_begins_again() {
    let nodes = Nodes::start().await;
    let [one, two, _] = nodes.namespaces().try_into().unwrap();
    commit(&one, "kept", "1").await;
    commit(&one, "changed", "1").await;
    assert_eq!(read(&two, "changed").await.as_deref(), Some("1"));
    for value in 2..6 {
        commit(&one, "changed", &value.to_string()).await;
    }
    // As if the log had been pruned meanwhile.
    nodes.stores[0].prune_state(chrono::Utc::now() + chrono::TimeDelta::minutes(1)).await.unwrap();
    assert_eq!(read(&two, "changed").await.as_deref(), Some("5"));
    commit(&two, "changed", "6").await;
    assert_eq!(read(&one, "changed").await.as_deref(), Some("6"));
    assert_eq!(read(&one, "kept").await.as_deref(), Some("1"));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_that_another_node_deletes_is_empty() {
    let nodes = Nodes::start().await;
    let [one, two, _] = nodes.namespaces().try_into().unwrap();
    commit(&one, "a", "1").await;
    assert_eq!(read(&two, "a").await.as_deref(), Some("1"));
    let of = StateTarget { app: app(), name: NamespaceName::Production };
    nodes.states[0].delete_namespace(&of).await.unwrap();
    assert_eq!(read(&two, "a").await, None);
    commit(&two, "b", "2").await;
    let new = nodes.namespaces().remove(0);
    assert_eq!((read(&new, "a").await, read(&new, "b").await.as_deref()), (None, Some("2")));
    nodes.stop().await;
}
