#!/usr/bin/env python3
"""Measures the state of apps on PostgreSQL, with one node and with three, and writes the table in bench/README.md.

Reads of a key, and counters on one key and on many, compared with plain axum and sqlx that does the same in one SERIALIZABLE
transaction, with as many processes. PostgreSQL and the servers have one core, wrk the other; commits are synced to the disk.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import load
import page
from node import Picloud, git, repository, request
from process import (
    CLIENT_CORE, RELEASE, ROOT, SERVER_CORE, NoiseMonitor, Server, free_port, need_two_cores, noise_note, output, pinned, retry_if_noisy, run,
)

ROUNDS = 5
SECONDS = 3
WARM_UP = 1

NODES = (1, 3)
# wrk has a thread for each node; one node gets the requests of all three.
THREADS, CLIENTS = 3, 63
KEYS = 1_000

PICLOUD, AXUM = "PiCloud", "axum with sqlx"
APP = {path.name: path.read_text() for path in (ROOT / "bench" / "state_app").iterdir()}

# The path, the body, and how many keys.
KINDS = {
    "read of a key": ("/counters/hot", "", None),
    "count on one key": ("/counters/hot", "{}", None),
    f"count on {KEYS:,} keys": ("/counters/", "{}", KEYS),
}
ONE_KEY = list(KINDS)[1]

STATE_SUM = "SELECT coalesce(sum(convert_from(value, 'UTF8')::bigint), 0) FROM kv_entries"
TABLE_SUM = "SELECT coalesce(sum(number), 0) FROM counters"


class Postgres(Server):
    """PostgreSQL with its default settings, so that commits are durable. It does not run as root."""

    def __init__(self, folder):
        versions = Path("/usr/lib/postgresql").iterdir()
        programs = max(versions, key=lambda version: int(version.name)) / "bin"
        user = []
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data, port = folder / "data", free_port()
        options = ["--username=picloud", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        run([*user, programs / "initdb", f"--pgdata={data}", *options], cwd="/")
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "max_connections": 200}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        super().__init__([*user, programs / "postgres", "-D", data, *flags], port, folder.with_suffix(".log"), SERVER_CORE, folder="/")

    def processes(self):
        """Each of its processes has a session of its own."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if self.process.pid in (int(entry.name), int(fields[1])):
                    yield entry, fields

    def url(self, name="postgres"):
        return f"postgres://picloud@127.0.0.1:{self.port}/{name}"

    def database(self, name):
        run(["psql", "-qX", "-c", f"CREATE DATABASE {name}", self.url()])
        return self.url(name)


class Cluster:
    """Servers on one database. Its CPU time counts all servers and PostgreSQL."""

    def __init__(self, servers, postgres, database, query, prefix):
        self.servers, self.postgres, self.prefix = servers, postgres, prefix
        self.command = ["psql", "-qXAt", "-c", query, database]

    def cpu(self):
        return self.postgres.cpu() + sum(server.cpu() for server in self.servers)

    def counted(self):
        """The sum of all counters, once no request is under way. All servers read the same."""
        before = None
        while (now := int(output(self.command))) != before:
            before = now
            time.sleep(0.1)
        answers = [request(server.port, f"{self.prefix}/counters/hot") for server in self.servers]
        if any((status, body) != (200, answers[0][2]) for status, _, body in answers):
            sys.exit(f"error: {self.prefix}: the servers read different counters: {answers}")
        return now


def start(scratch, stack):
    """The clusters, by server and number of nodes."""
    postgres = stack.enter_context(Postgres(scratch / "postgres"))
    clusters = {}
    for count in NODES:
        url = postgres.database(f"picloud_{count}")
        folders = [scratch / f"node-{count}-{number}" for number in range(count)]
        nodes = [stack.enter_context(Picloud(folder, core=SERVER_CORE, database=url)) for folder in folders]
        git(repository(scratch / f"app-{count}", APP), "push", "-q", nodes[0].url("state"), "main")
        clusters[PICLOUD, count] = Cluster(nodes, postgres, url, STATE_SUM, "/state")
        url, servers = postgres.database(f"axum_{count}"), []
        for number in range(count):
            port = free_port()
            command = [RELEASE / "examples" / "axum_postgres", port, url]
            server = Server(command, port, scratch / f"axum-{count}-{number}.log", SERVER_CORE)
            servers.append(stack.enter_context(server))
        clusters[AXUM, count] = Cluster(servers, postgres, url, TABLE_SUM, "")
    version = output(["psql", "-qXAt", "-c", "SHOW server_version", postgres.url()]).split()[0]
    return clusters, version


def span(cluster, kind, seconds):
    """One span of full load at all nodes."""
    path, body, keys = KINDS[kind]
    before = cluster.counted()
    monitor, cpu = NoiseMonitor(cluster), cluster.cpu()
    environment = {**os.environ, "PORTS": " ".join(str(server.port) for server in cluster.servers)}
    if keys:
        environment["KEYS"] = str(keys)
    url = f"http://127.0.0.1:{cluster.servers[0].port}{cluster.prefix}{path}"
    command = ["wrk", f"-t{THREADS}", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "10s", "-s", load.SCRIPT, url, "--", body]
    figures = load.parse_result(output(command, env=environment, preexec_fn=pinned(CLIENT_CORE)))
    used, others = cluster.cpu() - cpu, monitor.others()
    answered, counted = figures["requests"] - figures["wrong"], cluster.counted() - before
    # wrk does not wait for the last answers.
    most = answered + CLIENTS + figures["wrong"] + figures["broken"]
    return {
        "rate": answered / figures["seconds"],
        "cpu": answered / max(used, 0.001),
        "p50": figures["p50"],
        "p99": figures["p99"],
        "requests": figures["requests"],
        "failed": figures["wrong"] + figures["broken"],
        "miscounted": max(answered - counted, counted - most, 0) if body else counted,
        "others": others,
    }


def measure(clusters):
    """All spans in turn, by cluster and kind."""
    keys = [(cluster, kind) for kind in KINDS for cluster in clusters]
    for cluster, kind in keys:
        span(clusters[cluster], kind, WARM_UP)
    spans = {key: [] for key in keys}
    for number in range(ROUNDS):
        for cluster, kind in keys[:: -1 if number % 2 else 1]:
            spans[cluster, kind].append(retry_if_noisy(lambda: span(clusters[cluster], kind, SECONDS)))
    return spans


def nodes(count):
    return "1 node" if count == 1 else f"{count} nodes"


def total(spans, server, key):
    return sum(each[key] for ((name, _), _), several in spans.items() if name == server for each in several)


def table_rows(spans, median):
    rows = []
    for kind in KINDS:
        for count in NODES:
            ours, theirs = median[(PICLOUD, count), kind], median[(AXUM, count), kind]
            rows.append(
                page.row(f"{kind}, {nodes(count)}, requests per second", AXUM, ours["rate"] / theirs["rate"], "≥ 1",
                         f"{ours['rate']:,.0f} / {theirs['rate']:,.0f}")
            )
            rows += [
                page.row(f"{kind}, {nodes(count)}, {key}", AXUM, ours[key] / theirs[key], "≤ 1", f"{ours[key]:.1f} ms / {theirs[key]:.1f} ms")
                for key in ("p50", "p99")
            ]
    one, three = (median[(PICLOUD, count), ONE_KEY]["rate"] for count in NODES)
    rows.append(page.row(f"{ONE_KEY}, {nodes(NODES[1])}, requests per second", nodes(NODES[0]), three / one, "≥ 0.5", f"{three:,.0f} / {one:,.0f}"))
    requests, failed, miscounted = (total(spans, PICLOUD, key) for key in ("requests", "failed", "miscounted"))
    rows += [
        page.row("requests that fail", "none", failed, "≤ 0", f"{failed} of {requests:,}"),
        page.row("counts that are not in the sum, or not of a request", "none", miscounted, "≤ 0", f"{miscounted} of {requests:,}"),
    ]
    return rows


def main():
    need_two_cores()
    # PostgreSQL has another user, who must be able to enter it.
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        scratch = Path(scratch)
        scratch.chmod(0o755)
        (scratch / "postgres").mkdir()
        clusters, version = start(scratch, stack)
        spans = measure(clusters)
    for ((name, count), kind), several in spans.items():
        if any(each["miscounted"] for each in several) and name != PICLOUD:
            sys.exit(f"error: {name}, {nodes(count)}, {kind}: has lost counts: {several}")
    median = {
        key: {figure: statistics.median(each[figure] for each in several) for figure in ("rate", "cpu", "p50", "p99")}
        for key, several in spans.items()
    }
    how = (
        "`kv::get` and `kv::incr` in PiCloud; a SERIALIZABLE transaction that is repeated until it succeeds in axum. PostgreSQL has its"
        " default settings; it shares one core with all servers, wrk has the other. So three nodes show the cost of agreement and not"
        f" what three machines would do. {CLIENTS} connections to all nodes together, {ROUNDS} spans of {SECONDS} s each in turn,"
        f" medians. {total(spans, AXUM, 'failed')} of {total(spans, AXUM, 'requests'):,} requests to axum failed, or waited longer than 10 s."
        f" {noise_note([each for several in spans.values() for each in several])}"
    )
    raw = [
        [kind, name, nodes(count), f"{figures['rate']:,.0f}", f"{figures['cpu']:,.0f}", f"{figures['p50']:.1f} ms", f"{figures['p99']:.1f} ms"]
        for ((name, count), kind), figures in median.items()
    ]
    header = ["benchmark", "server", "nodes", "requests per second", "requests per second of CPU", "p50", "p99"]
    versions = [output([RELEASE / "picloud", "--version"]).split("\n")[0], f"PostgreSQL {version}", load.version()]
    page.write("State on several nodes", "bench/state_nodes.py", versions, how, page.table(table_rows(spans, median)), page.table(raw, header))


if __name__ == "__main__":
    main()
