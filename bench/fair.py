#!/usr/bin/env python3
"""Measures the effect of one app at full load on the latency of another app, which gets some hundred requests per second.

The loaded app computes, or responds to hello at full speed. The other one responds to hello, and to a computation longer than
one time slice. Spans without and with load alternate, on a node with two cores and on one with one core. The load generator
has idle priority, since it represents remote machines.
"""

import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import load
import page
from node import Picloud, git, repository
from process import CLIENT_CORE, ROOT, SERVER_CORE, NoiseMonitor, noise_note, retry_if_noisy, need_two_cores, output

ROUNDS = 3
SECONDS = 4

# The connections to the measured app, and the pause between two requests of each, in milliseconds.
CONNECTIONS, PAUSE = 2, 5

FILES = {path.name: path.read_text() for path in (ROOT / "bench" / "app").iterdir()}

LOADS = {"computes": "/greedy/fib/24", "responds to hello": "/greedy/hello/Ann"}
TARGETS = {"hello": "/modest/hello/Ann", "fib(15)": "/modest/fib/15"}


def wrk(node, connections, path, seconds, *arguments):
    url = f"http://127.0.0.1:{node.port}{path}"
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", load.SCRIPT]
    return ["wrk", *options, url, "--", *map(str, arguments)]


def idle_priority():
    """For `preexec_fn`: gives the load generator idle priority."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def span(node, target, background):
    """The latency of the measured app, with or without load on the other one."""
    monitor, generator = NoiseMonitor(node), None
    if background:
        command = wrk(node, load.CONNECTIONS, LOADS[background], SECONDS + 2)
        generator = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=idle_priority)
    try:
        figures = load.parse_result(output(wrk(node, CONNECTIONS, TARGETS[target], SECONDS, "", PAUSE)))
    finally:
        if generator:
            generator.kill()
            generator.wait()
    if figures["wrong"] or figures["broken"]:
        raise SystemExit(f"error: {target} failed while the other app {background}: {figures}")
    # The load itself is not noise.
    return figures | {"others": 0 if generator else monitor.others()}


def measure_spans(folder, work, core):
    """All spans on a node with one core, or with two: results by target and background load."""
    spans = {(target, background): [] for target in TARGETS for background in (None, *LOADS)}
    with Picloud(folder, core=core) as node:
        for app in ("greedy", "modest"):
            git(work, "push", "-q", node.url(app), "main")
        for _ in range(ROUNDS):
            for (target, background), several in spans.items():
                several.append(retry_if_noisy(lambda: span(node, target, background)))
    return spans


def table_rows(spans, node):
    p99 = {key: statistics.median(figures["p99"] for figures in several) for key, several in spans.items()}
    return [
        page.row(f"p99 of {target} while another app {background} at full load, {node}", "no load",
                 p99[target, background] / p99[target, None], "≤ 2", f"{p99[target, background]:.2f} ms / {p99[target, None]:.2f} ms")
        for background in LOADS
        for target in TARGETS
    ]


def main():
    need_two_cores()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        work = repository(scratch / "app", FILES)
        both = measure_spans(scratch / "both", work, None)
        os.sched_setaffinity(0, {CLIENT_CORE})
        one = measure_spans(scratch / "one", work, SERVER_CORE)
    all_figures = [figures for spans in (both, one) for several in spans.values() for figures in several]
    how = (
        f"One app at full load on {load.CONNECTIONS} connections; the other one on {CONNECTIONS} connections with a pause of {PAUSE} ms"
        f" before each request. {ROUNDS} spans of {SECONDS} seconds of each kind in turn. A node on two cores shares them with both"
        f" clients, a node on one core has it exclusively; the load generator has idle priority. {noise_note(all_figures)}"
    )
    rows = table_rows(both, "on two cores") + table_rows(one, "on one core")
    page.write("Apps side by side", "bench/fair.py", [load.version()], how, page.table(rows))


if __name__ == "__main__":
    main()
