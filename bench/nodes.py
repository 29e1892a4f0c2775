#!/usr/bin/env python3
"""Measures several nodes on one PostgreSQL: when a push is live on the others, and how long a node with many apps takes to start."""

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
    """A new database on the private PostgreSQL."""
    admin = os.environ["PICLOUD_TEST_POSTGRES"]
    run(["psql", "-qX", "-c", f"CREATE DATABASE {name}", admin])
    return f"{admin.rsplit('/', 1)[0]}/{name}"


def watch(port, path, wanted, seen):
    """Asks without a pause until the answer is `wanted`, and notes when that was."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while True:
        connection.request("GET", path)
        if connection.getresponse().read() == wanted:
            seen[port] = time.monotonic()
            return


def pushes(scratch):
    """The milliseconds from a push being live at the node that took it until it is live at each of two others, and how many
    the whole push took for git."""
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
            began = time.monotonic()
            git(work, "push", "-q", nodes[number % 3].url("app"), "main")
            took = time.monotonic() - began
            if number == 0:
                continue
            for thread in watching:
                thread.join()
            here = seen.pop(nodes[number % 3].port)
            later += [max(0, there - here) * 1000 for there in seen.values()]
            whole.append(took * 1000)
    finally:
        for node in nodes:
            node.stop()
    return later, whole


def start(scratch):
    """The seconds from the start of a node with many apps to its first answer."""
    url = database("apps")
    work = repository(scratch / "many", {"picloud.toml": MANIFEST, "number.rhai": "7\n"})
    with Picloud(scratch / "first", database=url) as node:
        for number in range(APPS):
            git(work, "push", "-q", node.url(f"app-{number}"), "main")
    took = []
    for number in range(3):
        began = time.monotonic()
        with Picloud(scratch / f"start-{number}", database=url) as node:
            seen = {}
            watch(node.port, f"/app-{APPS - 1}/", b"7", seen)
            took.append(seen[node.port] - began)
    return statistics.median(took)


def main():
    if "PICLOUD_TEST_POSTGRES" not in os.environ:
        program = ROOT / "tests" / "with-postgres"
        os.execv(program, [program, __file__])
    with tempfile.TemporaryDirectory() as scratch:
        later, whole = pushes(Path(scratch))
        started = start(Path(scratch))
    median = statistics.median(later)
    rows = [
        page.row("a push, from live at its node to live at another", f"{LIVE_MS_MAX} ms", median / LIVE_MS_MAX, "≤ 1",
                 f"{median:.1f} ms; 9 of 10 within {statistics.quantiles(later, n=10)[8]:.1f} ms"),
        page.row(f"start of a node with {APPS:,} apps, until its first answer", f"{START_S_MAX} s", started / START_S_MAX, "≤ 1",
                 f"{started:.2f} s"),
    ]
    how = (
        "Three nodes on a private PostgreSQL, all on this machine. Each node is asked without a pause while a push is under way;"
        f" {PUSHES} pushes, at each node in turn; for git, one took {statistics.median(whole):.0f} ms until it was live on 3/3 nodes."
        " The commit in the database is some milliseconds before the first node's answer."
    )
    page.write("Several nodes", "bench/nodes.py", [], how, page.table(rows))


if __name__ == "__main__":
    main()
