//! Nodes that share a PostgreSQL.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use store::cluster::{AppliedGeneration, Disk, Heartbeat, NewNode, Notification};
use store::{App, Cluster, Generation, Location, Store};
use uuid::Uuid;

use crate::database::{Other, connect, on_postgres};
use crate::fixtures::push;

fn node(name: &str) -> NewNode {
    let (role, version, address) = ("all", "0.1.0".to_owned(), "127.0.0.1:8080".to_owned());
    NewNode { id: Uuid::new_v4(), name: name.to_owned(), role, version, address }
}

fn applied(app: &App) -> AppliedGeneration {
    AppliedGeneration { app: app.id, generation: app.generation, error: None }
}

async fn open(location: &Location) -> (Store, Cluster) {
    let store = Store::open(location).await.unwrap();
    let cluster = store.cluster().unwrap();
    (store, cluster)
}

/// Which nodes applied the generation of the app.
async fn serving(cluster: &Cluster, app: &App) -> Vec<(String, bool, Option<String>)> {
    let serving = cluster.node_generations(app.id, app.generation).await.unwrap();
    serving.into_iter().map(|serving| (serving.name, serving.up_to_date, serving.error)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn applied_generations_are_visible_to_other_nodes() {
    on_postgres(async |location: Location| {
        let (store, cluster) = open(&location).await;
        let (one, two) = (node("one"), node("two"));
        cluster.join(&one).await.unwrap();
        cluster.join(&two).await.unwrap();
        let app = store.push(&push(None, 1)).await.unwrap().app;
        assert_eq!(app.generation.number, 1);
        assert_eq!(
            serving(&cluster, &app).await,
            [("one".to_owned(), false, None), ("two".to_owned(), false, None)]
        );
        cluster.ack_generations(one.id, 2, &[applied(&app)]).await.unwrap();
        // A late report does not overwrite a newer one.
        let before = AppliedGeneration { generation: Generation::default(), ..applied(&app) };
        cluster.ack_generations(one.id, 1, &[before]).await.unwrap();
        let error = Some("no such script".to_owned());
        cluster
            .ack_generations(two.id, 1, &[AppliedGeneration { error: error.clone(), ..applied(&app) }])
            .await
            .unwrap();
        assert_eq!(
            serving(&cluster, &app).await,
            [("one".to_owned(), true, None), ("two".to_owned(), true, error)]
        );
        let nodes = cluster.nodes().await.unwrap();
        let counted: Vec<_> =
            nodes.iter().map(|node| (node.name.as_str(), node.apps_up_to_date, node.apps_stale)).collect();
        assert_eq!(counted, [("one", 1, 0), ("two", 0, 1)]);
        cluster.leave(two.id).await.unwrap();
        assert_eq!(serving(&cluster, &app).await, [("one".to_owned(), true, None)]);
        // A node that left cannot report.
        cluster.ack_generations(two.id, 3, &[applied(&app)]).await.unwrap();
        assert_eq!(cluster.heartbeat(two.id, &Heartbeat::default()).await.unwrap(), None);
    })
    .await;
}

/// After a restore of an older state, numbers are assigned again. Generations of the lost history do not count.
#[tokio::test(flavor = "multi_thread")]
async fn generation_of_lost_history_does_not_count() {
    on_postgres(async |location: Location| {
        let Location::Postgres(url) = &location else { unreachable!() };
        let (store, cluster) = open(&location).await;
        let (one, two) = (node("one"), node("two"));
        cluster.join(&one).await.unwrap();
        cluster.join(&two).await.unwrap();
        let first = store.push(&push(None, 1)).await.unwrap().app;
        let lost = store.push(&push(Some(1), 2)).await.unwrap().app;
        cluster.ack_generations(one.id, 1, &[applied(&lost)]).await.unwrap();
        assert_eq!(serving(&cluster, &lost).await[0], ("one".to_owned(), true, None));
        let mut other = connect(url).await;
        let back = format!(
            "UPDATE apps SET generation = 1, generation_id = '{}'; UPDATE refs SET target = '{}'",
            first.generation.id,
            crate::fixtures::oid(1)
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&mut other).await.unwrap();
        assert_eq!(cluster.nodes().await.unwrap()[0].apps_up_to_date, 0);
        assert!(
            serving(&cluster, &lost).await.iter().all(|(_, up_to_date, _)| !up_to_date),
            "the lost generation does not count"
        );
        let again = store.push(&push(Some(1), 3)).await.unwrap().app;
        assert_eq!(again.generation.number, lost.generation.number);
        assert!(serving(&cluster, &again).await.iter().all(|(_, up_to_date, _)| !up_to_date));
        // A node may return to an earlier generation.
        cluster.ack_generations(one.id, 2, &[applied(&first)]).await.unwrap();
        cluster.ack_generations(two.id, 1, &[applied(&again)]).await.unwrap();
        assert_eq!(
            serving(&cluster, &again).await,
            [("one".to_owned(), false, None), ("two".to_owned(), true, None)]
        );
        assert!(
            serving(&cluster, &first).await.iter().all(|(_, up_to_date, _)| *up_to_date),
            "a later generation counts"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_heartbeat_is_gone() {
    on_postgres(async |location: Location| {
        let Location::Postgres(url) = &location else { unreachable!() };
        let (_store, cluster) = open(&location).await;
        let (one, two) = (node("one"), node("two"));
        cluster.join(&one).await.unwrap();
        cluster.join(&two).await.unwrap();
        let mut other = connect(url).await;
        let long_ago = "UPDATE nodes SET seen_at = now() - interval '20 seconds' WHERE name = 'two'";
        sqlx::raw_sql(long_ago).execute(&mut other).await.unwrap();
        let names = async || -> Vec<String> {
            cluster.nodes().await.unwrap().into_iter().map(|node| node.name).collect()
        };
        assert_eq!(names().await, ["one"]);
        let disk = Some(Disk { free_bytes: 1, size_bytes: u64::MAX >> 1 });
        let says = Heartbeat { not_ready_reason: Some("it is full".to_owned()), disk };
        let shown = cluster.heartbeat(one.id, &says).await.unwrap().unwrap();
        assert!((shown - Utc::now()).abs() < TimeDelta::minutes(1), "{shown}");
        assert_eq!(cluster.nodes().await.unwrap()[0].disk, disk);
        let skew = cluster.nodes().await.unwrap()[0].clock_skew_ms;
        assert!(skew.is_some_and(|skew| skew.abs() < 60_000), "{skew:?}");
        assert_eq!(cluster.nodes().await.unwrap()[0].not_ready_reason.as_deref(), Some("it is full"));
        assert_eq!(
            cluster.heartbeat(two.id, &Heartbeat::default()).await.unwrap(),
            None,
            "deleted by the heartbeat of another node"
        );
        cluster.rejoin(&two).await.unwrap();
        assert_eq!(names().await, ["one", "two"]);
        // A process with the same name replaces the earlier one.
        cluster.join(&node("two")).await.unwrap();
        assert_eq!(names().await, ["one", "two"]);
        assert_eq!(cluster.heartbeat(two.id, &Heartbeat::default()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_push_notifies_nodes() {
    on_postgres(async |location: Location| {
        let Location::Postgres(url) = &location else { unreachable!() };
        let (store, cluster) = open(&location).await;
        let mut listener = cluster.listen().await.unwrap();
        let mut next =
            async || tokio::time::timeout(Duration::from_secs(20), listener.next()).await.unwrap().unwrap();
        let app = store.push(&push(None, 1)).await.unwrap().app;
        assert_eq!(next().await, Notification::App { name: app.name.clone(), node: None });
        // A rejected push notifies no node.
        store.push(&push(None, 2)).await.unwrap_err();
        cluster.ack_generations(Uuid::new_v4(), 1, &[]).await.unwrap();
        assert_eq!(next().await, Notification::GenerationApplied);
        // A lost connection is reported, and later notifications arrive.
        let mut other = connect(url).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        sqlx::raw_sql(kill).execute(&mut other).await.unwrap();
        assert_eq!(next().await, Notification::Unknown);
        let again = store.push(&push(Some(1), 2)).await.unwrap().app;
        assert_eq!(again.generation.number, 2);
        assert_eq!(next().await, Notification::App { name: app.name, node: None });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_transaction_outcomes_are_deleted() {
    on_postgres(async |location: Location| {
        let (store, _) = open(&location).await;
        let mut other = Other::at(&location).await;
        other
            .run(
                "INSERT INTO transaction_outcomes (id, committed, at)
                 SELECT gen_random_uuid(), true, now() - interval '61 minutes' FROM generate_series(1, 100)",
            )
            .await;
        // One in 256 commits deletes old rows, so this number of commits is enough almost surely.
        for _ in 0..8192 {
            store.probe_write().await.unwrap();
            if other.rows("transaction_outcomes WHERE at < now() - interval '1 hour'").await == 0 {
                assert!(other.rows("transaction_outcomes").await > 0);
                return;
            }
        }
        panic!("the old rows are still there");
    })
    .await;
}
