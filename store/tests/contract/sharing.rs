//! What nodes on one PostgreSQL tell each other.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use store::cluster::{Disk, Heartbeat, NewNode, News, TakenUp};
use store::{Cluster, Location, Store};
use uuid::Uuid;

use crate::database::{Other, connect, on_postgres};
use crate::values::push;

fn node(name: &str) -> NewNode {
    let (role, program, address) = ("all", "0.1.0".to_owned(), "127.0.0.1:8080".to_owned());
    NewNode { id: Uuid::new_v4(), name: name.to_owned(), role, program, address }
}

fn taken(app: store::AppId, generation: u64) -> TakenUp {
    TakenUp { app, generation, fault: None }
}

async fn open(location: &Location) -> (Store, Cluster) {
    let store = Store::open(location).await.unwrap();
    let cluster = store.cluster().unwrap();
    (store, cluster)
}

/// Who has taken up what, by name.
async fn serving(cluster: &Cluster, app: store::AppId) -> Vec<(String, Option<u64>, Option<String>)> {
    let serving = cluster.serving(app).await.unwrap();
    serving.into_iter().map(|serving| (serving.name, serving.generation, serving.fault)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_is_what_the_others_read() {
    on_postgres(async |location: Location| {
        let (store, cluster) = open(&location).await;
        let (one, two) = (node("one"), node("two"));
        cluster.join(&one).await.unwrap();
        cluster.join(&two).await.unwrap();
        let app = store.push(&push(None, 1)).await.unwrap().app;
        assert_eq!(app.generation, 1);
        assert_eq!(
            serving(&cluster, app.id).await,
            [("one".to_owned(), None, None), ("two".to_owned(), None, None)]
        );
        cluster.take_up(one.id, &[taken(app.id, 2)]).await.unwrap();
        // What is said late says nothing newer.
        cluster.take_up(one.id, &[taken(app.id, 1)]).await.unwrap();
        let fault = Some("no such script".to_owned());
        cluster.take_up(two.id, &[TakenUp { fault: fault.clone(), ..taken(app.id, 1) }]).await.unwrap();
        assert_eq!(
            serving(&cluster, app.id).await,
            [("one".to_owned(), Some(2), None), ("two".to_owned(), Some(1), fault)]
        );
        let nodes = cluster.nodes().await.unwrap();
        let counted: Vec<_> =
            nodes.iter().map(|node| (node.name.as_str(), node.current, node.behind)).collect();
        assert_eq!(counted, [("one", 1, 0), ("two", 0, 1)]);
        cluster.leave(two.id).await.unwrap();
        assert_eq!(serving(&cluster, app.id).await, [("one".to_owned(), Some(2), None)]);
        // Whoever is gone has nothing to say any more.
        cluster.take_up(two.id, &[taken(app.id, 2)]).await.unwrap();
        assert_eq!(cluster.beat(two.id, &Heartbeat::default()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_heard_of_is_gone() {
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
        let says = Heartbeat { trouble: Some("it is full".to_owned()), disk };
        let shown = cluster.beat(one.id, &says).await.unwrap().unwrap();
        assert!((shown - Utc::now()).abs() < TimeDelta::minutes(1), "{shown}");
        assert_eq!(cluster.nodes().await.unwrap()[0].disk, disk);
        let skew = cluster.nodes().await.unwrap()[0].clock_skew_ms;
        assert!(skew.is_some_and(|skew| skew.abs() < 60_000), "{skew:?}");
        assert_eq!(cluster.nodes().await.unwrap()[0].trouble.as_deref(), Some("it is full"));
        assert_eq!(
            cluster.beat(two.id, &Heartbeat::default()).await.unwrap(),
            None,
            "one's beat has deleted it"
        );
        cluster.rejoin(&two).await.unwrap();
        assert_eq!(names().await, ["one", "two"]);
        // Another process by the same name: the one before has ended.
        cluster.join(&node("two")).await.unwrap();
        assert_eq!(names().await, ["one", "two"]);
        assert_eq!(cluster.beat(two.id, &Heartbeat::default()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_news_once_it_is_committed() {
    on_postgres(async |location: Location| {
        let Location::Postgres(url) = &location else { unreachable!() };
        let (store, cluster) = open(&location).await;
        let mut listener = cluster.listen().await.unwrap();
        let mut next =
            async || tokio::time::timeout(Duration::from_secs(20), listener.next()).await.unwrap().unwrap();
        let app = store.push(&push(None, 1)).await.unwrap().app;
        assert_eq!(next().await, News::App { name: app.name.clone(), node: None });
        // A push that is refused is none.
        store.push(&push(None, 2)).await.unwrap_err();
        cluster.take_up(Uuid::new_v4(), &[]).await.unwrap();
        assert_eq!(next().await, News::TakenUp);
        // Whoever was cut off may have missed something, and hears what comes from then on.
        let mut other = connect(url).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        sqlx::raw_sql(kill).execute(&mut other).await.unwrap();
        assert_eq!(next().await, News::Anything);
        let again = store.push(&push(Some(1), 2)).await.unwrap().app;
        assert_eq!(again.generation, 2);
        assert_eq!(next().await, News::App { name: app.name, node: None });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_transactions_is_deleted_when_it_is_old() {
    on_postgres(async |location: Location| {
        let (store, _) = open(&location).await;
        let mut other = Other::at(&location).await;
        other
            .run(
                "INSERT INTO outcomes (id, committed, at)
                 SELECT gen_random_uuid(), true, now() - interval '61 minutes' FROM generate_series(1, 100)",
            )
            .await;
        // One commit of 256 deletes them: that none of so many does is as good as impossible.
        for _ in 0..8192 {
            store.probe_write().await.unwrap();
            if other.rows("outcomes WHERE at < now() - interval '1 hour'").await == 0 {
                assert!(other.rows("outcomes").await > 0);
                return;
            }
        }
        panic!("the old rows are still there");
    })
    .await;
}
