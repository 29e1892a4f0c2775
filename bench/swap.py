#!/usr/bin/env python3
"""Measures what deploys cost the requests that are in flight: wrk at full load, while git pushes one revision after another.

Every answer is checked: the revision that it names, the script's own mark and a capture that only that revision's manifest
names must belong together. Quiet spans, spans with pushes and spans with pushes that are only checked take turns. A push that
is checked costs git and the server what a deploy costs, up to the commit and the swap: what it does to the latency is the load
of one more program on the machine, not the swap.
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
from node import Picloud, git, repository, said
from process import CLIENT_CORE, ROOT, SERVER_CORE, TRIES, Watch, disturbance, in_peace, need_two_cores, output, pinned

ROUNDS = 3
SECONDS = 5
# From the start of one push to the next.
PAUSE = 0.25

QUIET, DEPLOYS, CHECKS = "no push", "deploys", "checks"


def files(mark):
    """A revision that answers with its mark, which its route's capture bears too."""
    return {
        "picloud.toml": f'sdk = "1.1"\n\n[[routes]]\npath = "/hello/{{name{mark}}}"\nmethods = ["GET"]\nscript = "hello.rhai"\n',
        "hello.rhai": f"#{{ mark: {mark}, name: ctx.request.params.name{mark} }}\n",
    }


def revisions(work, count):
    """Commits `count` revisions; gives back their ids and writes, for wrk, what each answers."""
    commits = [said(work, "rev-parse", "HEAD")]
    for mark in range(1, count):
        for path, text in files(mark).items():
            (work / path).write_text(text)
        git(work, "commit", "-qam", f"revision {mark}")
        commits.append(said(work, "rev-parse", "HEAD"))
    listed = work.with_suffix(".txt")
    answers = (f'{commit} {{"mark":{mark},"name":"Ann"}}\n' for mark, commit in enumerate(commits))
    listed.write_text("".join(answers))
    return commits, listed


def alone():
    """For git: on the core of the load, and only when that has nothing to do."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def span(node, work, listed, refspecs):
    """One span of load, with pushes of `refspecs` beside it. Gives back what wrk measured and how many were `pushed`."""
    command = load.command(f"http://127.0.0.1:{node.port}/swap/hello/Ann", SECONDS, ROOT / "bench" / "swap.lua", [str(listed)])
    watch, done = Watch(node), 0
    wrk = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(CLIENT_CORE))
    try:
        ends = time.monotonic() + SECONDS - 2 * PAUSE
        for refspec in refspecs:
            if (began := time.monotonic()) > ends:
                break
            git(work, "push", "-qf", node.url("swap"), refspec, preexec_fn=alone)
            done += 1
            time.sleep(max(0, began + PAUSE - time.monotonic()))
        printed, _ = wrk.communicate(timeout=60)
    finally:
        wrk.kill()
        wrk.wait()
    return load.measured(printed) | {"pushed": done, "others": watch.others()}


def main():
    need_two_cores()
    spans = {QUIET: [], DEPLOYS: [], CHECKS: []}
    everything = {QUIET: [], DEPLOYS: [], CHECKS: []}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        work = repository(scratch / "swap", files(0))
        commits, listed = revisions(work, int(ROUNDS * TRIES * SECONDS / PAUSE) + 1)
        with Picloud(scratch / "picloud", core=SERVER_CORE) as node:
            git(work, "push", "-q", node.url("swap"), f"{commits[0]}:refs/heads/main")
            span(node, work, listed, [])

            def measure(kind):
                ahead = commits[1 + sum(figures["pushed"] for figures in everything[DEPLOYS]) :]
                refspecs = {
                    QUIET: [],
                    DEPLOYS: [f"{commit}:refs/heads/main" for commit in ahead],
                    # Nothing of it stays, so that it is as new every time.
                    CHECKS: [f"{ahead[0]}:refs/picloud/check"] * len(ahead),
                }[kind]
                figures = span(node, work, listed, refspecs)
                everything[kind].append(figures)
                if kind == DEPLOYS and figures["revisions"] < figures["pushed"]:
                    sys.exit(f"of {figures['pushed']} deploys only {figures['revisions']} were seen")
                return figures

            for _ in range(ROUNDS):
                for kind, several in spans.items():
                    several.append(in_peace(lambda: measure(kind)))
    deployed = sum(figures["pushed"] for figures in everything[DEPLOYS])
    requests = sum(figures["requests"] for figures in everything[DEPLOYS])
    failed = sum(figures["wrong"] + figures["broken"] for figures in everything[DEPLOYS])
    mixed = sum(figures["mixed"] + figures["unknown"] for figures in everything[DEPLOYS])
    p99 = {kind: statistics.median(figures["p99"] for figures in several) for kind, several in spans.items()}
    rate = {kind: statistics.median(f["requests"] / f["seconds"] for f in several) for kind, several in spans.items()}

    def against(kind, reference, figures, unit, reach):
        return page.row(f"{unit[0]} while revisions are {'deployed' if kind == DEPLOYS else 'checked'}", reference,
                        figures[kind] / figures[QUIET], reach, unit[1].format(figures[kind], figures[QUIET]))

    rows = [
        page.row(f"requests that fail while {deployed} revisions are deployed", "none", failed, "≤ 0", f"{failed} of {requests:,}"),
        page.row("answers that mix two revisions", "none", mixed, "≤ 0", f"{mixed} of {requests:,}"),
        against(DEPLOYS, QUIET, p99, ("p99", "{:.2f} ms / {:.2f} ms"), "≤ 1.2"),
        against(CHECKS, QUIET, p99, ("p99", "{:.2f} ms / {:.2f} ms"), "–"),
        against(DEPLOYS, QUIET, rate, ("requests a second", "{:,.0f} / {:,.0f}"), "–"),
        against(CHECKS, QUIET, rate, ("requests a second", "{:,.0f} / {:,.0f}"), "–"),
    ]
    how = (
        f"A scripted hello on {load.CONNECTIONS} connections at full load, {ROUNDS} spans of {SECONDS} seconds of each kind in turn;"
        f" a push every {PAUSE * 1000:.0f} ms, each of a new commit, by the real git on the core of the load. wrk checks every answer."
        f" {disturbance([figures for several in spans.values() for figures in several])}"
    )
    page.write("Deploys under load", "bench/swap.py", [output(["git", "--version"]), load.version()], how, page.table(rows))


if __name__ == "__main__":
    main()
