#!/usr/bin/env python3
"""Measures idle nodes: memory by number of apps, CPU by number of schedules."""

import http.client
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import page
from node import Picloud, git, repository
from process import ROOT

APPS = 1000
MORE_MIB_MAX = 64
SCHEDULES = 100
CPU_PERCENT_MAX = 0.1
MINUTE = 60
# Seconds until a node is idle after startup or requests: idle threads exit after ten seconds.
SETTLE = 15

MANIFEST = 'sdk = "1.1"\n\n[[routes]]\npath = "/greet/{name}"\nmethods = ["GET"]\nscript = "greet.rhai"\n'


def apps(scratch, count):
    """Pushes `count` apps, then restarts the node. Returns its idle memory, its memory after one request to each app, and its
    startup time in seconds."""
    folder = scratch / f"apps-{count}"
    work = repository(
        scratch / f"work-{count}",
        {"picloud.toml": MANIFEST, "greet.rhai": (ROOT / "examples" / "hello" / "greet.rhai").read_text()},
    )
    with Picloud(folder) as node:
        for number in range(count):
            git(work, "push", "-q", node.url(f"app-{number}"), "main")
    started_at = time.monotonic()
    with Picloud(folder) as node:
        elapsed = time.monotonic() - started_at
        time.sleep(SETTLE)
        idle = node.memory()
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
        for number in range(count):
            connection.request("GET", f"/app-{number}/greet/Ann")
            response = connection.getresponse()
            if (response.status, response.read()) != (200, b'{"message":"Hello, Ann"}'):
                sys.exit(f"error: app {number} of {count}: unexpected status {response.status}")
        connection.close()
        time.sleep(SETTLE)
        return idle, node.memory(), elapsed


def scheduled(count):
    """A manifest with daily schedules, none of them due within the next two hours."""
    hour = datetime.now(timezone.utc).hour
    schedules = (
        f'\n[[schedules]]\nname = "job-{number}"\ncron = "{number * 7 % 60} {(hour + 3 + number % 18) % 24} * * *"\n'
        'script = "greet.rhai"\n'
        for number in range(count)
    )
    return MANIFEST + "".join(schedules)


def used(node):
    """CPU time of a node's threads in nanoseconds, and their voluntary context switches (proc(5))."""
    tasks = list(Path(f"/proc/{node.process.pid}/task").iterdir())
    ran = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
    woken = sum(
        int(line.split()[1])
        for task in tasks
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )
    return ran, woken


def minute(scratch):
    """CPU usage of two idle nodes in the same minute, in percent of a core, and their wakeups: with and without schedules."""
    nodes = []
    try:
        for count in (SCHEDULES, 0):
            files = {"picloud.toml": scheduled(count), "greet.rhai": "42\n"}
            work = repository(scratch / f"schedules-{count}", files)
            nodes.append(Picloud(scratch / f"node-{count}"))
            git(work, "push", "-q", nodes[-1].url("jobs"), "main")
        time.sleep(SETTLE)
        before = [used(node) for node in nodes]
        time.sleep(MINUTE)
        after = [used(node) for node in nodes]
    finally:
        for node in nodes:
            node.stop()
    return [
        ((ran - ran_before) / 1e9 / MINUTE * 100, woken - woken_before)
        for (ran_before, woken_before), (ran, woken) in zip(before, after)
    ]


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        one, many = apps(scratch, 1), apps(scratch, APPS)
        busy, free = minute(scratch)
    more = f"{MORE_MIB_MAX} MiB more than one app"
    rows = [
        page.row(f"memory of an idle node with {APPS:,} apps", more, (many[0] - one[0]) / MORE_MIB_MAX, "≤ 1",
                 f"{many[0]:.1f} MiB, {many[0] - one[0]:.1f} MiB more than {one[0]:.1f} MiB"),
        page.row("the same, after one request to each app", more, (many[1] - one[1]) / MORE_MIB_MAX, "≤ 1",
                 f"{many[1]:.1f} MiB, {many[1] - one[1]:.1f} MiB more than {one[1]:.1f} MiB"),
        page.row(f"start of a node with {APPS:,} apps", "with one app", many[2] / one[2], "–",
                 f"{many[2] * 1000:.0f} ms / {one[2] * 1000:.0f} ms"),
        page.row(f"CPU of an idle node with {SCHEDULES} schedules", f"{CPU_PERCENT_MAX} % of a core", busy[0] / CPU_PERCENT_MAX,
                 "≤ 1", f"{busy[0]:.3f} %, woken {busy[1]} times in a minute"),
        page.row("the same with no schedule", f"{CPU_PERCENT_MAX} % of a core", free[0] / CPU_PERCENT_MAX, "≤ 1",
                 f"{free[0]:.3f} %, woken {free[1]} times in a minute"),
    ]
    how = (
        f"Memory is what the process holds (PSS), {SETTLE} seconds after a restart or the last request. No schedule is due in the"
        f" minute; a sleeping process would use nothing."
    )
    page.write("Idle nodes", "bench/idle.py", [], how, page.table(rows))


if __name__ == "__main__":
    main()
