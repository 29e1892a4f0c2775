#!/usr/bin/env python3
"""Measures the state of apps, and writes the table in bench/README.md.

A counter on one key, compared with the fsyncs of the disk and with the same counter on peers; reads of a key and lists; and
commits while a large repository is pushed to another app. All data is in temporary directories on one disk.
"""

import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import load
import page
from node import TOKEN, Picloud, expect, git, repository, request
from peers import install, program
from process import (
    CLIENT_CORE, RELEASE, ROOT, SERVER_CORE, NoiseMonitor, Server, free_port, need_two_cores, noise_note, output, pinned, retry_if_noisy,
)

CLIENTS = 64
ROUNDS = 5
SECONDS = 3
WARM_UP = 1
PAGE_BYTES = 4096

READ_ROUNDS = 9
READ_SECONDS = 1
FEW, MANY = 1_000, 10_000
FIRST_ITEM = 100_000

PUSHES = 3
PUSH_FILES, FILE_BYTES = 100, 1_000_000
COMMIT_MS_MAX = 100
# From one request of the client that counts during pushes to the next, in seconds.
INTERVAL = 0.01
LARGE = ["--max-push-size", "1GiB", "--max-unpacked-size", "1GiB"]

PICLOUD = "PiCloud"
APP = {path.name: path.read_text() for path in (ROOT / "bench" / "state_app").iterdir()}
HELLO = {path.name: path.read_text() for path in (ROOT / "bench" / "app").iterdir()}


def disk(folder):
    """fsyncs per second: a page appended to a file, then fdatasync, one after the other."""
    file = os.open(folder / "fsyncs", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    done, started_at = 0, time.monotonic()
    while time.monotonic() - started_at < WARM_UP:
        os.write(file, bytes(PAGE_BYTES))
        os.fdatasync(file)
        done += 1
    elapsed = time.monotonic() - started_at
    os.close(file)
    return done / elapsed


def counters(scratch, stack):
    """Starts the servers. Returns them by name, each with the path of its counter, and their versions."""
    folder = install()
    node, deno = program(folder, "node-linux-*/bin/node"), program(folder, "@deno/linux-*/deno")
    picloud = stack.enter_context(Picloud(scratch / "picloud", core=SERVER_CORE))
    git(repository(scratch / "state", APP), "push", "-q", picloud.url("state"), "main")
    servers = {PICLOUD: (picloud, "/state/hits")}
    permissions = ["--no-config", "--unstable-kv", "--allow-net", "--allow-env", "--allow-read", "--allow-write"]
    for name, command in {
        "Deno KV": lambda *_: [deno, "run", *permissions, "deno-kv.js"],
        "Node with better-sqlite3": lambda *_: [node, "fastify-sqlite.js"],
        "axum with sqlx": lambda port, file: [RELEASE / "examples" / "axum_sqlite", port, file],
    }.items():
        port, own = free_port(), scratch / name.replace(" ", "-")
        own.mkdir()
        file = own / "state.db"
        environment = {"PORT": str(port), "STATE": str(file), "DENO_DIR": str(own), "DENO_NO_UPDATE_CHECK": "1"}
        server = Server(command(port, file), port, own / "log", SERVER_CORE, environment, folder)
        servers[name] = (stack.enter_context(server), "/hits")
    packages = json.loads((folder / "package.json").read_text())["dependencies"]
    versions = [
        output([RELEASE / "picloud", "--version"]).split("\n")[0],
        output([deno, "--version"]).split(" (")[0].replace("deno", "Deno"),
        f"Node {output([node, '--version']).lstrip('v')} with Fastify {packages['fastify']}"
        f" and better-sqlite3 {packages['better-sqlite3']}",
        load.version(),
    ]
    return servers, versions


def hits(server, path):
    """The value of the counter, once no request is under way."""
    before = None
    while True:
        status, _, body = request(server.port, path)
        if status != 200:
            sys.exit(f"error: {path}: {status}, {body[:200]!r}")
        if body == before:
            return json.loads(body)["hits"]
        before = body
        time.sleep(0.1)


def count(server, path, seconds):
    """Counts at full load. Returns how much, and how many counts were lost or are too many."""
    before, monitor, cpu = hits(server, path), NoiseMonitor(server), server.cpu()
    command = ["wrk", "-t2", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "10s", "-s", load.SCRIPT]
    url = f"http://127.0.0.1:{server.port}{path}"
    figures = load.parse_result(output([*command, url, "--", "{}"], preexec_fn=pinned(CLIENT_CORE)))
    used, others = server.cpu() - cpu, monitor.others()
    answered = figures["requests"] - figures["wrong"]
    counted = hits(server, path) - before
    # wrk does not wait for the last answers.
    miscounted = max(answered - counted, counted - answered - CLIENTS - figures["wrong"] - figures["broken"], 0)
    return {
        "rate": answered / figures["seconds"],
        "cpu": answered / max(used, 0.001),
        "p99": figures["p99"],
        "requests": figures["requests"],
        "failed": figures["wrong"] + figures["broken"],
        "miscounted": miscounted,
        "others": others,
    }


def groups(server):
    """The commits that PiCloud has stored, and the groups in which it has stored them."""
    _, _, body = request(server.port, "/-/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    values = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line and line[0] != "#")
    return [float(values[f"picloud_state_group_commits_{part}"]) for part in ("sum", "count")]


def counter(scratch, stack):
    servers, versions = counters(scratch, stack)
    for server, path in servers.values():
        count(server, path, WARM_UP)
    spans, fsyncs = {name: [] for name in servers}, []
    before = groups(servers[PICLOUD][0])
    for number in range(ROUNDS):
        fsyncs.append(disk(scratch))
        for name in list(servers)[:: -1 if number % 2 else 1]:
            spans[name].append(retry_if_noisy(lambda: count(*servers[name], SECONDS)))
    commits, stored = (after - number for after, number in zip(groups(servers[PICLOUD][0]), before))
    for name, several in spans.items():
        if name != PICLOUD and any(span["failed"] or span["miscounted"] for span in several):
            sys.exit(f"error: {name} failed under load: {several}")
    median = {
        name: {key: statistics.median(span[key] for span in several) for key in ("rate", "cpu", "p99")}
        for name, several in spans.items()
    }
    ours, synced = median[PICLOUD], statistics.median(fsyncs)
    requests, failed, miscounted = (
        sum(span[key] for span in spans[PICLOUD]) for key in ("requests", "failed", "miscounted")
    )
    rows = [
        page.row("count on one key, requests per second", "fsyncs per second", ours["rate"] / synced, "≥ 20",
                 f"{ours['rate']:,.0f} / {synced:,.0f}"),
        page.row("commits on one key", "fsyncs of the log of the state", commits / stored, "≥ 20", f"{commits:,.0f} / {stored:,.0f}"),
        *(
            page.row("count on one key, requests per second", name, ours["rate"] / median[name]["rate"], "≥ 1",
                     f"{ours['rate']:,.0f} / {median[name]['rate']:,.0f}")
            for name in servers
            if name != PICLOUD
        ),
        page.row("requests that fail", "none", failed, "≤ 0", f"{failed} of {requests:,}"),
        page.row("counts that are not in the sum, or not of a request", "none", miscounted, "≤ 0",
                 f"{miscounted} of {requests:,}"),
    ]
    raw = [
        [name, f"{figures['rate']:,.0f}", f"{figures['cpu']:,.0f}", f"{figures['p99']:.1f} ms"]
        for name, figures in sorted(median.items(), key=lambda item: -item[1]["rate"])
    ]
    how = (
        f"Each request increments one number and returns the sum after it is on the disk: `kv::incr` in PiCloud, check and set in Deno"
        f" KV, `UPDATE ... RETURNING` in SQLite with WAL and `synchronous = FULL`. {CLIENTS} connections, {ROUNDS} spans of {SECONDS} s"
        f" each in turn, medians. The reference is fdatasync after each page of 4 KiB that is appended to a file on the same disk."
        f" {noise_note([span for several in spans.values() for span in several])}"
    )
    return rows, versions, how, page.table(raw, ["server", "requests per second", "requests per second of CPU", "p99"])


def read(server, path, clients, seconds):
    """Requests per second, and their median duration."""
    monitor = NoiseMonitor(server)
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", load.SCRIPT]
    figures = load.parse_result(output([*command, f"http://127.0.0.1:{server.port}{path}"], preexec_fn=pinned(CLIENT_CORE)))
    if figures["wrong"] or figures["broken"] or not figures["requests"]:
        sys.exit(f"error: {path} failed under load: {figures}")
    return {"rate": figures["requests"] / figures["seconds"], "p50": figures["p50"], "others": monitor.others()}


def reads(scratch, stack):
    node = stack.enter_context(Picloud(scratch / "reads", core=SERVER_CORE))
    work = repository(scratch / "reads-app", APP)
    for app in ("few", "many"):
        git(work, "push", "-q", node.url(app), "main")
    git(repository(scratch / "hello", HELLO), "push", "-q", node.url("hello"), "main")
    expect("greeting", node.port, "/few/greeting/Ann", {"message": "Hello, Ann"}, b"{}")
    expect("greeting", node.port, "/few/greeting/Ann", {"message": "Hello, Ann"})
    for app, items in (("few", FEW), ("many", MANY)):
        for first in range(FIRST_ITEM, FIRST_ITEM + items, FEW):
            expect("items", node.port, f"/{app}/items/{first}", {"stored": FEW}, b"{}")
        wanted = [
            {"key": f"item/{number}", "value": {"number": number, "name": f"Item {number}"}}
            for number in range(FIRST_ITEM, FIRST_ITEM + 100)
        ]
        expect("items", node.port, f"/{app}/items", wanted)
    kinds = {
        "hello": ("/hello/hello/Ann", load.CONNECTIONS),
        "get": ("/few/greeting/Ann", load.CONNECTIONS),
        "few": ("/few/items", 1),
        "many": ("/many/items", 1),
    }
    spans = {kind: [] for kind in kinds}
    for path, clients in kinds.values():
        read(node, path, clients, WARM_UP)
    for number in range(READ_ROUNDS):
        for kind in list(kinds)[:: -1 if number % 2 else 1]:
            spans[kind].append(retry_if_noisy(lambda: read(node, *kinds[kind], READ_SECONDS)))
    rate = {kind: statistics.median(span["rate"] for span in several) for kind, several in spans.items()}
    p50 = {kind: statistics.median(span["p50"] for span in several) for kind, several in spans.items()}
    rows = [
        page.row("`kv::get` of a key in memory, requests per second", "a hello without state", rate["get"] / rate["hello"], "≥ 0.8",
                 f"{rate['get']:,.0f} / {rate['hello']:,.0f}"),
        page.row(f"`kv::list` of 100 keys among {MANY:,}", f"among {FEW:,}", p50["many"] / p50["few"], "≤ 1.2",
                 f"{p50['many']:.2f} ms / {p50['few']:.2f} ms"),
    ]
    how = (
        f"Reads: {READ_ROUNDS} spans of {READ_SECONDS} s each in turn, medians; {load.CONNECTIONS} connections for `kv::get`, one for lists."
        f" {noise_note([span for several in spans.values() for span in several])}"
    )
    return rows, how


class Client:
    """One client that counts every `INTERVAL` seconds. Keeps when each request was due, and how long after that its answer came:
    a request that has to wait for the one before is late too."""

    def __init__(self, port, path):
        self.port, self.path = port, path
        self.requests, self.failed = [], 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        connection, due = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30), time.monotonic()
        while not self.stopped.is_set():
            time.sleep(max(0, due - time.monotonic()))
            connection.request("POST", self.path, b"{}", {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            self.failed += response.status != 200
            self.requests.append((due, time.monotonic() - due))
            due += INTERVAL
        connection.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def milliseconds(self, start, end):
        """Durations of the requests that were due in this time."""
        return [elapsed * 1000 for due, elapsed in self.requests if start <= due < end]


def assets(folder):
    """A repository in one pack that cannot be compressed, with a script."""
    work = repository(folder, HELLO)
    content = random.Random(1)
    for number in range(PUSH_FILES):
        (work / f"{number:03}.bin").write_bytes(content.randbytes(FILE_BYTES))
    git(work, "add", "-A")
    git(work, "commit", "-qm", "assets")
    git(work, "repack", "-adq")
    return work


def on_client_core():
    """For `preexec_fn`: runs git on the core of the client, with idle priority."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def push(scratch, stack):
    work = assets(scratch / "assets")
    node = stack.enter_context(Picloud(scratch / "push", *LARGE, core=SERVER_CORE))
    git(repository(scratch / "push-app", APP), "push", "-q", node.url("state"), "main")
    alone, meanwhile, pushes = [], [], []
    with Client(node.port, "/state/hits") as client:
        for number in range(PUSHES):
            started_at = time.monotonic()
            time.sleep(SECONDS)
            alone += client.milliseconds(started_at, time.monotonic())
            started_at = time.monotonic()
            pushes.append(git(work, "push", "-q", node.url(f"assets-{number}"), "main", preexec_fn=on_client_core)[0])
            meanwhile += client.milliseconds(started_at, time.monotonic())
    if client.failed:
        sys.exit(f"error: {client.failed} requests failed during pushes")
    p99, without = (statistics.quantiles(several, n=100)[98] for several in (meanwhile, alone))
    size = PUSH_FILES * FILE_BYTES / 1e6
    rows = [
        page.row(f"p99 of a commit during a push of {size:.0f} MB to another app", f"{COMMIT_MS_MAX} ms", p99 / COMMIT_MS_MAX, "≤ 1",
                 f"{p99:.1f} ms, {max(meanwhile):.0f} ms at most; {without:.1f} ms without the push"),
    ]
    how = (
        f"Commits: one client that counts every {INTERVAL * 1000:.0f} ms, with durations from when a request is due; {PUSHES} pushes of {statistics.median(pushes):.1f} s each,"
        f" {len(meanwhile):,} requests meanwhile."
    )
    return rows, how


def main():
    need_two_cores()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        with ExitStack() as stack:
            rows, versions, how, grid = counter(scratch, stack)
        texts = [how]
        for part in (reads, push):
            with ExitStack() as stack:
                more, how = part(scratch, stack)
            rows += more
            texts.append(how)
    page.write("State", "bench/state.py", versions, *texts, page.table(rows), grid)


if __name__ == "__main__":
    main()
