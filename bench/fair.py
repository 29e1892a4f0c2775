#!/usr/bin/env python3
"""Measures what one app at full load does to another one on the same node, whose requests come one after the other.

The loaded app computes, or answers hello as fast as it is asked. The other one is asked for hello and for something that takes
longer than a slice. Quiet and loaded spans take turns. Node and load share both cores; the program that makes the load gives way to
the node and to the client that is measured, since it stands for machines elsewhere.
"""

import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import load
import page
from node import Picloud, git, repository
from process import ROOT, Watch, disturbance, in_peace, need_two_cores, output

ROUNDS = 3
SECONDS = 3

FILES = {path.name: path.read_text() for path in (ROOT / "bench" / "app").iterdir()}

LOADS = {"computes": "/greedy/fib/24", "answers hello": "/greedy/hello/Ann"}
ASKED = {"hello": "/modest/hello/Ann", "fib(15)": "/modest/fib/15"}


def wrk(node, connections, path, seconds):
    url = f"http://127.0.0.1:{node.port}{path}"
    return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", load.SCRIPT, url, "--"]


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
        figures = load.measured(output(wrk(node, 1, ASKED[asked], SECONDS)))
    finally:
        if hog:
            hog.kill()
            hog.wait()
    if figures["wrong"] or figures["broken"]:
        raise SystemExit(f"{asked} failed beside one that {beside}: {figures}")
    # The load is no disturbance.
    return figures | {"others": 0 if hog else watch.others()}


def main():
    need_two_cores()
    spans = {(asked, beside): [] for asked in ASKED for beside in (None, *LOADS)}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        work = repository(scratch / "app", FILES)
        with Picloud(scratch / "picloud") as node:
            for app in ("greedy", "modest"):
                git(work, "push", "-q", node.url(app), "main")
            for _ in range(ROUNDS):
                for (asked, beside), several in spans.items():
                    several.append(in_peace(lambda: span(node, asked, beside)))
    p99 = {key: statistics.median(figures["p99"] for figures in several) for key, several in spans.items()}
    rows = [
        page.row(f"p99 of {asked} while another app {beside} at full load", "no load", p99[asked, beside] / p99[asked, None],
                 "≤ 2", f"{p99[asked, beside]:.2f} ms / {p99[asked, None]:.2f} ms")
        for beside in LOADS
        for asked in ASKED
    ]
    how = (
        f"The one app on {load.CONNECTIONS} connections as fast as it answers, the other on one; {ROUNDS} spans of {SECONDS} seconds"
        f" of each kind in turn. Node and both loads share the two cores, and the load gives way to node and client. {disturbance([f for s in spans.values() for f in s])}"
    )
    page.write("Apps side by side", "bench/fair.py", [load.version()], how, page.table(rows))


if __name__ == "__main__":
    main()
