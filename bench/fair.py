#!/usr/bin/env python3
"""Measures what one app at full load does to another one on the same node, which is asked some hundred times a second.

The loaded app computes, or answers hello as fast as it is asked. The other one is asked for hello and for something that takes
longer than a slice. Quiet and loaded spans take turns, on a node that has both cores and on one that has only one of them. The
program that makes the load gives way to the node and to the client that is measured, since it stands for machines elsewhere.
"""

import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import load
import page
from node import Picloud, git, repository
from process import CLIENT_CORE, ROOT, SERVER_CORE, Watch, disturbance, in_peace, need_two_cores, output

ROUNDS = 3
SECONDS = 4

# The connections of the app that is measured, and how long each rests between two requests, in milliseconds.
CONNECTIONS, PAUSE = 2, 5

FILES = {path.name: path.read_text() for path in (ROOT / "bench" / "app").iterdir()}

LOADS = {"computes": "/greedy/fib/24", "answers hello": "/greedy/hello/Ann"}
ASKED = {"hello": "/modest/hello/Ann", "fib(15)": "/modest/fib/15"}


def wrk(node, connections, path, seconds, *arguments):
    url = f"http://127.0.0.1:{node.port}{path}"
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", load.SCRIPT]
    return ["wrk", *options, url, "--", *map(str, arguments)]


def yielding():
    """For the load: it runs when nothing else wants the core."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def span(node, asked, beside):
    """The p99 of what is asked, in milliseconds, beside a load or alone."""
    watch, hog = Watch(node), None
    if beside:
        command = wrk(node, load.CONNECTIONS, LOADS[beside], SECONDS + 2)
        hog = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=yielding)
    try:
        figures = load.measured(output(wrk(node, CONNECTIONS, ASKED[asked], SECONDS, "", PAUSE)))
    finally:
        if hog:
            hog.kill()
            hog.wait()
    if figures["wrong"] or figures["broken"]:
        raise SystemExit(f"{asked} failed beside one that {beside}: {figures}")
    # The load is no disturbance.
    return figures | {"others": 0 if hog else watch.others()}


def spans_of(folder, work, core):
    """All spans on a node that has one core, or all of them: figures by what is asked, and beside what."""
    spans = {(asked, beside): [] for asked in ASKED for beside in (None, *LOADS)}
    with Picloud(folder, core=core) as node:
        for app in ("greedy", "modest"):
            git(work, "push", "-q", node.url(app), "main")
        for _ in range(ROUNDS):
            for (asked, beside), several in spans.items():
                several.append(in_peace(lambda: span(node, asked, beside)))
    return spans


def rows_of(spans, node):
    p99 = {key: statistics.median(figures["p99"] for figures in several) for key, several in spans.items()}
    return [
        page.row(f"p99 of {asked} while another app {beside} at full load, {node}", "no load",
                 p99[asked, beside] / p99[asked, None], "≤ 2", f"{p99[asked, beside]:.2f} ms / {p99[asked, None]:.2f} ms")
        for beside in LOADS
        for asked in ASKED
    ]


def main():
    need_two_cores()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        work = repository(scratch / "app", FILES)
        both = spans_of(scratch / "both", work, None)
        os.sched_setaffinity(0, {CLIENT_CORE})
        one = spans_of(scratch / "one", work, SERVER_CORE)
    everything = [figures for spans in (both, one) for several in spans.values() for figures in several]
    how = (
        f"The one app on {load.CONNECTIONS} connections as fast as it answers; the other on {CONNECTIONS}, which rest for {PAUSE} ms"
        f" before each request. {ROUNDS} spans of {SECONDS} seconds of each kind in turn. A node on two cores shares them with both"
        f" loads, one on one core has it for itself; what makes the load gives way. {disturbance(everything)}"
    )
    rows = rows_of(both, "on two cores") + rows_of(one, "on one core")
    page.write("Apps side by side", "bench/fair.py", [load.version()], how, page.table(rows))


if __name__ == "__main__":
    main()
