//! State: a large push delays no commit until its end.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tests::repository::command;
use tests::wait::SetOnDrop;
use tests::{Database, Server, Wire, on_both_databases, until};

use crate::resource_exhaustion::incompressible;
use crate::state::repository;

on_both_databases!(commits_go_on_during_a_push_of_100_megabytes);

const WRITERS: usize = 3;

/// How many commits of each writer are answered during the push at least. One that waited for its end would have one.
const COMMITS: u64 = 10;

fn commits_go_on_during_a_push_of_100_megabytes(database: Database) {
    let flags = ["--max-push-size", "256MiB", "--max-unpacked-size", "256MiB"];
    let server = Server::start_with(database, &flags);
    repository(&[("count", "kv::incr(ctx.request.query.key)")])
        .push(&server.git_url("app"), &["main"])
        .succeeded();
    let large = incompressible(100, 1);
    let (is_over, is_pushing) = (AtomicBool::new(false), AtomicBool::new(false));
    let during: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let sums: Vec<u64> = thread::scope(|scope| {
        let over = SetOnDrop(&is_over);
        let write = |writer: usize| {
            let (is_over, is_pushing, during, server) = (&is_over, &is_pushing, &during[writer], &server);
            move || {
                let mut wire = Wire::open(server);
                let request = format!("GET /app/count?key=k{writer} HTTP/1.1\r\nHost: test\r\n\r\n");
                let mut sum = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let was_pushing = is_pushing.load(Ordering::SeqCst);
                    wire.send(&request);
                    let response = wire.response();
                    sum += 1;
                    assert_eq!((response.status, response.body), (200, sum.to_string()));
                    // Sent and answered while the server works on the push.
                    if was_pushing && is_pushing.load(Ordering::SeqCst) {
                        during.fetch_add(1, Ordering::SeqCst);
                    }
                    // The push gets most of the processors.
                    thread::sleep(Duration::from_millis(5));
                }
                sum
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(write(writer))).collect();
        let mut push = command(large.path(), &["push", "-q", &server.git_url("large"), "main"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("git");
        until("the server has the whole push", || {
            (server.metric("picloud_pushes_in_progress{state=\"running\"}") > 0.0).then_some(())
        });
        is_pushing.store(true, Ordering::SeqCst);
        until("the push has ended", || {
            push.try_wait().expect("git").map(|_| is_pushing.store(false, Ordering::SeqCst))
        });
        let output = push.wait_with_output().expect("git");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        drop(over);
        writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
    });
    let during: Vec<u64> = during.into_iter().map(AtomicU64::into_inner).collect();
    assert!(during.iter().all(|commits| *commits >= COMMITS), "{during:?}");
    let keys: Vec<String> = (0..WRITERS).map(|writer| format!("/app/count?key=k{writer}")).collect();
    let after: Vec<String> = keys.iter().map(|key| server.get(key).body).collect();
    assert_eq!(after, sums.iter().map(|sum| (sum + 1).to_string()).collect::<Vec<_>>());
}
