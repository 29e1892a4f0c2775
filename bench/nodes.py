#!/usr/bin/env python3
"""Measures several nodes on one PostgreSQL: the propagation of a push, and the startup time with many apps."""

import http.client
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import page
from node import Picloud, git, repository
from process import ROOT, run

PUSHES = 40
LIVE_MS_MAX = 50
APPS = 1000
START_S_MAX = 2

MANIFEST = 'sdk = "1.1"\n\n[[routes]]\npath = "/"\nscript = "number.rhai"\n'


def database(name):
    """Creates a database on the temporary PostgreSQL server."""
    admin = os.environ["PICLOUD_TEST_POSTGRES"]
    run(["psql", "-qX", "-c", f"CREATE DATABASE {name}", admin])
    return f"{admin.rsplit('/', 1)[0]}/{name}"


def watch(port, path, wanted, seen):
    """Sends requests until the response is `wanted`, and records the time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while True:
        connection.request("GET", path)
        if connection.getresponse().read() == wanted:
            seen[port] = time.monotonic()
            return


def pushes(scratch):
    """Milliseconds until a push is live on each of two other nodes, from the time it is live on the receiving node; and
    milliseconds of the whole push."""
    url = database("pushes")
    work = repository(scratch / "work", {"picloud.toml": MANIFEST, "number.rhai": "0\n"})
    nodes = [Picloud(scratch / f"node-{number}", database=url) for number in range(3)]
    later, whole = [], []
    try:
        for number in range(PUSHES + 1):
            (work / "number.rhai").write_text(f"{number}")
            git(work, "commit", "-qam", f"{number}")
            seen = {}
            watching = [
                threading.Thread(target=watch, args=(node.port, "/app/", f"{number}".encode(), seen)) for node in nodes
            ]
            for thread in watching if number else []:
                thread.start()
            started_at = time.monotonic()
            git(work, "push", "-q", nodes[number % 3].url("app"), "main")
            elapsed = time.monotonic() - started_at
            if number == 0:
                continue
            for thread in watching:
                thread.join()
            here = seen.pop(nodes[number % 3].port)
            later += [max(0, there - here) * 1000 for there in seen.values()]
            whole.append(elapsed * 1000)
    finally:
        for node in nodes:
            node.stop()
    return later, whole


def start(scratch):
    """Seconds from the start of a node with many apps to its first response."""
    url = database("apps")
    work = repository(scratch / "many", {"picloud.toml": MANIFEST, "number.rhai": "7\n"})
    with Picloud(scratch / "first", database=url) as node:
        for number in range(APPS):
            git(work, "push", "-q", node.url(f"app-{number}"), "main")
    elapsed = []
    for number in range(3):
        started_at = time.monotonic()
        with Picloud(scratch / f"start-{number}", database=url) as node:
            seen = {}
            watch(node.port, f"/app-{APPS - 1}/", b"7", seen)
            elapsed.append(seen[node.port] - started_at)
    return statistics.median(elapsed)


def main():
    if "PICLOUD_TEST_POSTGRES" not in os.environ:
        program = ROOT / "tests" / "with-postgres"
        os.execv(program, [program, __file__])
    with tempfile.TemporaryDirectory() as scratch:
        later, whole = pushes(Path(scratch))
        started = start(Path(scratch))
    median = statistics.median(later)
    rows = [
        page.row("propagation of a push to another node", f"{LIVE_MS_MAX} ms", median / LIVE_MS_MAX, "≤ 1",
                 f"{median:.1f} ms; 9 of 10 within {statistics.quantiles(later, n=10)[8]:.1f} ms"),
        page.row(f"start of a node with {APPS:,} apps, until its first response", f"{START_S_MAX} s", started / START_S_MAX, "≤ 1",
                 f"{started:.2f} s"),
    ]
    how = (
        "Three nodes on a temporary PostgreSQL, all on this machine. Each node gets continuous requests during a push;"
        f" {PUSHES} pushes, to each node in turn; the git client took {statistics.median(whole):.0f} ms until live on 3/3 nodes."
        " The database commit is some milliseconds before the first response of the receiving node."
    )
    page.write("Several nodes", "bench/nodes.py", [], how, page.table(rows))


if __name__ == "__main__":
    main()
