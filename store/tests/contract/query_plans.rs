//! Queries use indexes instead of sequential scans.

use std::ops::Bound::Unbounded;

use store::{AppId, Location, NamespaceCommit, NamespaceName, StateRange, Store};

use crate::database::*;
use crate::fixtures::*;
use crate::state::{commit_of, entry};

/// Reads and writes a large namespace among many.
async fn use_state(store: &Store, app: AppId, round: u64) {
    let state = store.state();
    let name = NamespaceName::Preview("1".to_owned());
    let id = state.open_namespace(app, &name).await.unwrap().id;
    let (limit, reverse) = (20, round.is_multiple_of(2));
    let range = StateRange { from: Unbounded, to: Unbounded, limit, bytes_max: 1000, reverse, now_ms: 0 };
    state.state_list(id, &range).await.unwrap();
    state.state_keys(id, &range).await.unwrap();
    state.state_entries(id, &["key/1", "key/2", "absent"]).await.unwrap();
    state.state_entries(id, &["key/1"]).await.unwrap();
    let deletes = vec![format!("key/{}", 100 + round)];
    let change = commit_of(id, round, vec![entry("key/1", "2", 1)]);
    state.commit_state(&[NamespaceCommit { deletes, ..change }]).await.unwrap();
    state.expired_entries(1000, 10).await.unwrap();
    state.next_expiry().await.unwrap();
    let new = state.open_namespace(AppId::random(), &name).await.unwrap().id;
    state.delete_namespace(new).await.unwrap();
}

/// One large app among others. Objects are named by number; each deploy has its own commit.
const MUCH: &str = "
    INSERT INTO objects (size, repository, depth, oid, kind, zlib)
    SELECT 1, apps.repository, 0, decode(lpad(to_hex(n), 40, '0'), 'hex'), (ARRAY['commit', 'tree', 'blob'])[n % 3 + 1], 'x'
    FROM apps, generate_series(16, 20000) AS n WHERE name = 'hello' ON CONFLICT DO NOTHING;
    INSERT INTO revisions (validated_at, repository, commit_id, sdk, subject, author)
    SELECT now(), apps.repository, decode(lpad(to_hex(n), 40, '0'), 'hex'), '1.1', 's', 'a'
    FROM apps, generate_series(16, 20000) AS n WHERE name = 'hello';
    INSERT INTO deploys (number, deployed_at, repository, commit_id, branch, deployed_by)
    SELECT n, now(), apps.repository, decode(lpad(to_hex(n), 40, '0'), 'hex'), 'main', 'ada'
    FROM apps, generate_series(16, 20000) AS n WHERE name = 'hello';
    INSERT INTO schedule_runs (app, schedule, due_at, deploy, execution, claimed_at, finished_at, outcome)
    SELECT apps.id, 'tock', now() + n * interval '1 minute', 1, apps.id, now(), now(), 'succeeded' FROM apps, generate_series(1, 20000) AS n;
    INSERT INTO executions (sequence, id, request_id, app, deploy, commit_id, script, trigger, target, node, started_at, duration_us,
        operations, memory_peak_bytes, failure, log_lines, log_lines_dropped)
    SELECT n, gen_random_uuid(), apps.id, apps.id, 1, decode(lpad(to_hex(n), 40, '0'), 'hex'), 's', 'http', 't', 'pi', now(), 1,
        1, 1, CASE WHEN n > 20000 OR n % 10 = 0 THEN 'script_error' END, 0, 0
    FROM apps, generate_series(1, 20001) AS n WHERE name = 'hello';
    INSERT INTO retention_buckets (kind, since, last_sequence, bytes) VALUES ('executions', now() - interval '2 hours', 20000, 1);
    UPDATE apps SET last_deploy = 20000;
    INSERT INTO kv_namespaces (app, name, version, bytes, entries)
    SELECT apps.id, 'preview/' || n, 0, 0, 0 FROM apps, generate_series(1, 20000) AS n WHERE name = 'hello';
    INSERT INTO kv_entries (namespace, key, version, expires_at_ms, is_blob, value)
    SELECT 1, 'key/' || n, 1, CASE WHEN n % 10 = 0 THEN n END, false, '1' FROM generate_series(1, 20000) AS n;
    ANALYZE";

#[tokio::test(flavor = "multi_thread")]
async fn queries_do_not_scan_tables() {
    on_postgres(async |location: Location| {
        let store = Store::open(&location).await.unwrap();
        let id = store.push(&push(None, 1)).await.unwrap().app.id;
        store.register_schedules(id, number(1), &[declared("* * * * * *")]).await.unwrap();
        let mut other = Other::at(&location).await;
        other.run(MUCH).await;
        // The planner uses custom plans for the first five executions, then a generic one.
        for round in 0..8_u32 {
            let names = [numbered(0), oid(1), oid(2)];
            store.object_info(id, &names).await.unwrap();
            store.objects(id, &names).await.unwrap();
            store.objects_and_bases(id, &names, u64::MAX).await.unwrap();
            store.commits(id, Some(numbered(round)), 100).await.unwrap();
            store.revision(id, oid(1)).await.unwrap();
            assert_eq!(store.live_branches(id).await.unwrap()[0].commit, oid(1));
            store.deployed_at(id, number(1)).await.unwrap();
            store.runs(&of(id), None, 20).await.unwrap();
            let run = run(id, 1, noon() + chrono::TimeDelta::minutes(i64::from(round) + 1));
            assert_eq!(store.claim_run(&run).await.unwrap(), store::Claim::Granted);
            store.run_history(&key(&run)).await.unwrap();
            store.renew_run(&key(&run), std::time::Duration::from_secs(60), run.now).await.unwrap();
            store.finish_run(&key(&run), store::RunOutcome::Succeeded, None, run.now).await.unwrap();
            store.mark_lost_runs(run.now).await.unwrap();
            store.next_lease_end(run.now).await.unwrap();
            store.prune_runs(&of(id), 100, noon()).await.unwrap();
            store.failing_schedules(10).await.unwrap();
            let failing =
                store.failing_apps(chrono::Utc::now() - chrono::TimeDelta::hours(1), 10).await.unwrap();
            assert_eq!((failing[0].failed, failing[0].executions), (1, 1));
            store.push(&push(Some(1), 1)).await.unwrap();
            use_state(&store, id, round.into()).await;
        }
        // Statistics of a connection are visible after it has ended.
        store.close().await;
        let Other::Postgres(connection) = &mut other else { unreachable!() };
        loop {
            let read: Vec<(String, i64, i64)> = sqlx::query_as(
                "SELECT relname::text, seq_tup_read, idx_scan FROM pg_stat_user_tables
                 WHERE relname IN ('objects', 'deploys', 'revisions', 'schedule_runs', 'executions', 'kv_namespaces', 'kv_entries')",
            )
            .fetch_all(&mut *connection)
            .await
            .unwrap();
            if read.iter().all(|(.., by_index)| *by_index > 0) {
                let whole: Vec<_> = read.iter().filter(|(_, rows, _)| *rows >= 20_000).collect();
                assert!(whole.is_empty(), "sequential scans: {whole:?}");
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}
