//! What nodes on one PostgreSQL tell each other.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use store::cluster::{Disk, Heartbeat, NewNode, News, TakenUp};
use store::{App, Cluster, Generation, Location, Store};
use uuid::Uuid;

use crate::database::{Other, connect, on_postgres};
use crate::values::push;

fn node(name: &str) -> NewNode {
    let (role, program, address) = ("all", "0.1.0".to_owned(), "127.0.0.1:8080".to_owned());
    NewNode { id: Uuid::new_v4(), name: name.to_owned(), role, program, address }
}

fn taken(app: &App) -> TakenUp {
    TakenUp { app: app.id, generation: app.generation, fault: None }
}

async fn open(location: &Location) -> (Store, Cluster) {
    let store = Store::open(location).await.unwrap();
    let cluster = store.cluster().unwrap();
    (store, cluster)
}

/// Who has taken up the generation of the app, by name.
async fn serving(cluster: &Cluster, app: &App) -> Vec<(String, bool, Option<String>)> {
    let serving = cluster.serving(app.id, app.generation).await.unwrap();
    serving.into_iter().map(|serving| (serving.name, serving.there, serving.fault)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_is_what_the_others_read() {
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
        cluster.take_up(one.id, 2, &[taken(&app)]).await.unwrap();
        // What is said late says nothing newer.
        let before = TakenUp { generation: Generation::default(), ..taken(&app) };
        cluster.take_up(one.id, 1, &[before]).await.unwrap();
        let fault = Some("no such script".to_owned());
        cluster.take_up(two.id, 1, &[TakenUp { fault: fault.clone(), ..taken(&app) }]).await.unwrap();
        assert_eq!(
            serving(&cluster, &app).await,
            [("one".to_owned(), true, None), ("two".to_owned(), true, fault)]
        );
        let nodes = cluster.nodes().await.unwrap();
        let counted: Vec<_> =
            nodes.iter().map(|node| (node.name.as_str(), node.current, node.behind)).collect();
        assert_eq!(counted, [("one", 1, 0), ("two", 0, 1)]);
        cluster.leave(two.id).await.unwrap();
        assert_eq!(serving(&cluster, &app).await, [("one".to_owned(), true, None)]);
        // Whoever is gone has nothing to say any more.
        cluster.take_up(two.id, 3, &[taken(&app)]).await.unwrap();
        assert_eq!(cluster.beat(two.id, &Heartbeat::default()).await.unwrap(), None);
    })
    .await;
}

/// Where the database was set back, numbers are given a second time. Whoever serves what is lost serves nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_of_a_lost_history_is_no_other() {
    on_postgres(async |location: Location| {
        let Location::Postgres(url) = &location else { unreachable!() };
        let (store, cluster) = open(&location).await;
        let (one, two) = (node("one"), node("two"));
        cluster.join(&one).await.unwrap();
        cluster.join(&two).await.unwrap();
        let first = store.push(&push(None, 1)).await.unwrap().app;
        let lost = store.push(&push(Some(1), 2)).await.unwrap().app;
        cluster.take_up(one.id, 1, &[taken(&lost)]).await.unwrap();
        assert_eq!(serving(&cluster, &lost).await[0], ("one".to_owned(), true, None));
        let mut other = connect(url).await;
        let back = format!(
            "UPDATE apps SET generation = 1, generation_id = '{}'; UPDATE refs SET target = '{}'",
            first.generation.id,
            crate::values::oid(1)
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&mut other).await.unwrap();
        assert_eq!(cluster.nodes().await.unwrap()[0].current, 0);
        assert!(
            serving(&cluster, &lost).await.iter().all(|(_, there, _)| !there),
            "it is not there any more"
        );
        let again = store.push(&push(Some(1), 3)).await.unwrap().app;
        assert_eq!(again.generation.number, lost.generation.number);
        assert!(serving(&cluster, &again).await.iter().all(|(_, there, _)| !there));
        // A node that goes back is believed.
        cluster.take_up(one.id, 2, &[taken(&first)]).await.unwrap();
        cluster.take_up(two.id, 1, &[taken(&again)]).await.unwrap();
        assert_eq!(
            serving(&cluster, &again).await,
            [("one".to_owned(), false, None), ("two".to_owned(), true, None)]
        );
        assert!(
            serving(&cluster, &first).await.iter().all(|(_, there, _)| *there),
            "who is further is there"
        );
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
        cluster.take_up(Uuid::new_v4(), 1, &[]).await.unwrap();
        assert_eq!(next().await, News::TakenUp);
        // Whoever was cut off may have missed something, and hears what comes from then on.
        let mut other = connect(url).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        sqlx::raw_sql(kill).execute(&mut other).await.unwrap();
        assert_eq!(next().await, News::Anything);
        let again = store.push(&push(Some(1), 2)).await.unwrap().app;
        assert_eq!(again.generation.number, 2);
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
