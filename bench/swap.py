#!/usr/bin/env python3
"""Measures the effect of deploys on requests in flight: wrk at full load, while git pushes one revision after another.

Every response is verified: its revision header, the mark of the script and a capture that only that revision's manifest has
must match. Spans without pushes, with deploys and with checks alternate. A check (a push to refs/picloud/check) costs as much
as a deploy, except for the commit and the swap, so its effect on latency is that of a busy machine.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import load
import page
from node import Picloud, git, repository, git_output
from process import CLIENT_CORE, ROOT, SERVER_CORE, ATTEMPTS_MAX, NoiseMonitor, noise_note, retry_if_noisy, need_two_cores, output, pinned

ROUNDS = 3
SECONDS = 5
# From the start of one push to that of the next, in seconds.
PAUSE = 0.25

QUIET, DEPLOYS, CHECKS = "no push", "deploys", "checks"


def files(mark):
    """A revision whose response and route capture have its mark."""
    return {
        "picloud.toml": f'sdk = "1.1"\n\n[[routes]]\npath = "/hello/{{name{mark}}}"\nmethods = ["GET"]\nscript = "hello.rhai"\n',
        "hello.rhai": f"#{{ mark: {mark}, name: ctx.request.params.name{mark} }}\n",
    }


def revisions(work, count):
    """Commits `count` revisions. Returns their commit IDs, and a file with their responses for wrk."""
    commits = [git_output(work, "rev-parse", "HEAD")]
    for mark in range(1, count):
        for path, text in files(mark).items():
            (work / path).write_text(text)
        git(work, "commit", "-qam", f"revision {mark}")
        commits.append(git_output(work, "rev-parse", "HEAD"))
    listed = work.with_suffix(".txt")
    responses = (f'{commit} {{"mark":{mark},"name":"Ann"}}\n' for mark, commit in enumerate(commits))
    listed.write_text("".join(responses))
    return commits, listed


def idle_priority():
    """For `preexec_fn`: runs git on the core of the load generator, with idle priority."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def span(node, work, listed, refspecs):
    """One span of load with concurrent pushes of `refspecs`. Returns the result of wrk and the number of pushes."""
    command = load.command(f"http://127.0.0.1:{node.port}/swap/hello/Ann", SECONDS, ROOT / "bench" / "swap.lua", [str(listed)])
    monitor, done = NoiseMonitor(node), 0
    wrk = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(CLIENT_CORE))
    try:
        ends = time.monotonic() + SECONDS - 2 * PAUSE
        for refspec in refspecs:
            if (started_at := time.monotonic()) > ends:
                break
            git(work, "push", "-qf", node.url("swap"), refspec, preexec_fn=idle_priority)
            done += 1
            time.sleep(max(0, started_at + PAUSE - time.monotonic()))
        printed, _ = wrk.communicate(timeout=60)
    finally:
        wrk.kill()
        wrk.wait()
    return load.parse_result(printed) | {"pushed": done, "others": monitor.others()}


def main():
    need_two_cores()
    spans = {QUIET: [], DEPLOYS: [], CHECKS: []}
    all_spans = {QUIET: [], DEPLOYS: [], CHECKS: []}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        work = repository(scratch / "swap", files(0))
        commits, listed = revisions(work, int(ROUNDS * ATTEMPTS_MAX * SECONDS / PAUSE) + 1)
        with Picloud(scratch / "picloud", core=SERVER_CORE) as node:
            git(work, "push", "-q", node.url("swap"), f"{commits[0]}:refs/heads/main")
            span(node, work, listed, [])

            def measure(kind):
                ahead = commits[1 + sum(figures["pushed"] for figures in all_spans[DEPLOYS]) :]
                refspecs = {
                    QUIET: [],
                    DEPLOYS: [f"{commit}:refs/heads/main" for commit in ahead],
                    # A check stores nothing, so the same commit can be checked again.
                    CHECKS: [f"{ahead[0]}:refs/picloud/check"] * len(ahead),
                }[kind]
                figures = span(node, work, listed, refspecs)
                all_spans[kind].append(figures)
                if kind == DEPLOYS and figures["revisions"] < figures["pushed"]:
                    sys.exit(f"error: {figures['pushed']} deploys, but only {figures['revisions']} revisions in responses")
                return figures

            for _ in range(ROUNDS):
                for kind, several in spans.items():
                    several.append(retry_if_noisy(lambda: measure(kind)))
    deployed = sum(figures["pushed"] for figures in all_spans[DEPLOYS])
    requests = sum(figures["requests"] for figures in all_spans[DEPLOYS])
    failed = sum(figures["wrong"] + figures["broken"] for figures in all_spans[DEPLOYS])
    mixed = sum(figures["mixed"] + figures["unknown"] for figures in all_spans[DEPLOYS])
    p99 = {kind: statistics.median(figures["p99"] for figures in several) for kind, several in spans.items()}
    rate = {kind: statistics.median(f["requests"] / f["seconds"] for f in several) for kind, several in spans.items()}

    def compare(kind, reference, figures, unit, reach):
        return page.row(f"{unit[0]} while revisions are {'deployed' if kind == DEPLOYS else 'checked'}", reference,
                        figures[kind] / figures[QUIET], reach, unit[1].format(figures[kind], figures[QUIET]))

    rows = [
        page.row(f"requests that fail while {deployed} revisions are deployed", "none", failed, "≤ 0", f"{failed} of {requests:,}"),
        page.row("responses that mix two revisions", "none", mixed, "≤ 0", f"{mixed} of {requests:,}"),
        compare(DEPLOYS, QUIET, p99, ("p99", "{:.2f} ms / {:.2f} ms"), "≤ 1.2"),
        compare(CHECKS, QUIET, p99, ("p99", "{:.2f} ms / {:.2f} ms"), "–"),
        compare(DEPLOYS, QUIET, rate, ("requests per second", "{:,.0f} / {:,.0f}"), "–"),
        compare(CHECKS, QUIET, rate, ("requests per second", "{:,.0f} / {:,.0f}"), "–"),
    ]
    how = (
        f"A scripted hello on {load.CONNECTIONS} connections at full load, {ROUNDS} spans of {SECONDS} seconds of each kind in turn;"
        f" a push every {PAUSE * 1000:.0f} ms, each of a new commit, by git on the core of the load generator. wrk verifies every response."
        f" {noise_note([figures for several in spans.values() for figures in several])}"
    )
    page.write("Deploys under load", "bench/swap.py", [output(["git", "--version"]), load.version()], how, page.table(rows))


if __name__ == "__main__":
    main()
