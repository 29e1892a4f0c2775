#!/usr/bin/env python3
"""Compares three endpoints of PiCloud with other servers: bench/peers.py [hello] [echo] [fib]

Each server has one core, wrk the other. The servers take turns in several rounds, so that noise affects all equally. The main
result is requests per second of CPU time, of all processes of a server.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import load
import page
from node import Picloud, expect, git, repository
from process import (
    CACHE, RELEASE, ROOT, SERVER_CORE, Server, NoiseMonitor, noise_note, free_port, retry_if_noisy, need_two_cores, nginx, output,
)

ROUNDS = 9
SECONDS = 1
WARM_UP = 2

PICLOUD = "PiCloud"
# The same server without a script.
FIXED = "PiCloud, a fixed string"
FIXED_PATH, FIXED_ANSWER = "/-/health/live", b"ok\n"
# The same endpoints in compiled Rust; for comparison, without a target.
AXUM = "bare axum"

DOCUMENT = {
    "id": 1841,
    "name": "Böblingen weather station",
    "active": True,
    "owner": None,
    "position": {"latitude": 48.6858, "longitude": 9.0113, "altitude": 464},
    "tags": ["outdoor", "solar", "roof", "north"],
    "readings": [
        {"at": f"2026-11-24T{hour:02}:00:00Z", "temperature": 4.25 + hour / 8, "humidity": 71 + hour, "rain": hour % 3 == 0}
        for hour in range(8)
    ],
    "notes": "",
}
DOCUMENT["notes"] = "x" * (1024 - len(json.dumps(DOCUMENT, ensure_ascii=False).encode()))

# Endpoints: section of the page, path, request body, response.
ENDPOINTS = {
    "hello": ("Hello", "/hello/Ann", None, {"message": "Hello, Ann"}),
    "echo": ("JSON echo", "/echo", json.dumps(DOCUMENT, ensure_ascii=False).encode(), DOCUMENT),
    "fib": ("Fibonacci", "/fib/20", None, {"fib": 6765}),
}

ABOUT = {
    "hello": "`GET /hello/{name}` returns `{\"message\":\"Hello, Ann\"}`.",
    "echo": "`POST /echo` parses a JSON document of 1 KiB and serializes it again.",
    "fib": "`GET /fib/20` computes the 20th Fibonacci number by recursion: 21,891 calls.",
}


def install():
    """Installs the pinned npm packages of the peers in target/bench. Returns the directory."""
    source, target = ROOT / "bench" / "peers", CACHE / "peers"
    lock = (source / "package-lock.json").read_bytes()
    done = target / "installed.json"
    if not done.exists() or done.read_bytes() != lock:
        print("installing the peers from npm", flush=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        output(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=target)
        done.write_bytes(lock)
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target


def program(folder, pattern):
    """A program from the npm package for this platform."""
    found = sorted((folder / "node_modules").glob(pattern))
    return found[0] if found else sys.exit(f"error: no package matches {pattern} on this platform")


def start(scratch, stack):
    """Starts all servers. Returns them by name, each with its path prefix, and their versions."""
    folder = install()
    node = program(folder, "node-linux-*/bin/node")
    deno = program(folder, "@deno/linux-*/deno")
    bun = program(folder, "@oven/bun-linux-*/bin/bun")
    workerd = program(folder, "@cloudflare/workerd-linux-*/bin/workerd")

    def serve(name, command, port, **options):
        log = scratch / f"{name.replace(' ', '-')}.log"
        environment = {"PORT": str(port), "DENO_DIR": str(scratch / "deno"), "DENO_NO_UPDATE_CHECK": "1"}
        server = Server(command, port, log, SERVER_CORE, environment, folder, **options)
        return stack.enter_context(server)

    picloud = stack.enter_context(Picloud(scratch / "picloud", core=SERVER_CORE))
    app = ROOT / "bench" / "app"
    work = repository(scratch / "app", {file.name: file.read_text() for file in app.iterdir()})
    git(work, "push", "-q", picloud.url("bench"), "main")

    port = free_port()
    (scratch / "nginx").mkdir()
    configuration = (folder / "nginx.conf").read_text().replace("FOLDER", str(scratch / "nginx"))
    (scratch / "nginx" / "nginx.conf").write_text(configuration.replace("PORT", str(port)))
    lua = [nginx(), "-e", scratch / "nginx" / "nginx.log", "-p", scratch / "nginx", "-c", scratch / "nginx" / "nginx.conf"]
    servers = {PICLOUD: (picloud, "/bench"), FIXED: (picloud, None), "nginx with Lua": (serve("nginx", lua, port), "")}

    for name, command in {
        AXUM: lambda port: [RELEASE / "examples" / "bare_axum", port],
        "Bun": lambda _: [bun, "bun.js"],
        "Deno": lambda _: [deno, "run", "--no-config", "--allow-net", "--allow-env", "deno.js"],
        "Node with Fastify": lambda _: [node, "fastify.js"],
        "workerd": lambda port: [workerd, "serve", "workerd.capnp", "--socket-addr", f"http=127.0.0.1:{port}"],
    }.items():
        port = free_port()
        servers[name] = (serve(name, command(port), port), "")

    packages = json.loads((folder / "package.json").read_text())["dependencies"]
    nginx_version = subprocess.run([nginx(), "-v"], capture_output=True, text=True).stderr
    versions = [
        output([RELEASE / "picloud", "--version"]),
        f"Bun {output([bun, '--version'])}",
        output([deno, "--version"]).split(" (")[0].replace("deno", "Deno"),
        f"Node {output([node, '--version']).lstrip('v')} with Fastify {packages['fastify']}",
        output([workerd, "--version"]),
        nginx_version.strip().rpartition(" ")[2].replace("/", " "),
        load.version(),
    ]
    return servers, versions


def measure(servers, endpoint):
    """Medians of each server: requests per second of wall-clock and of CPU time, p99 in milliseconds, and memory."""
    _, path, body, wanted = ENDPOINTS[endpoint]
    if endpoint != "hello":
        servers = {name: server for name, server in servers.items() if name != FIXED}

    def measure_one(name, seconds):
        server, prefix = servers[name]
        place = FIXED_PATH if prefix is None else prefix + path
        text = None if body is None else body.decode()
        monitor, before = NoiseMonitor(server), server.cpu()
        figures = load.load(name, f"http://127.0.0.1:{server.port}{place}", seconds, text)
        used = max(server.cpu() - before, 0.001)
        return {
            "clock": figures["requests"] / figures["seconds"],
            "cpu": figures["requests"] / used,
            "p99": figures["p99"],
            "others": monitor.others(),
        }

    for name, (server, prefix) in servers.items():
        if prefix is None:
            expect(name, server.port, FIXED_PATH, FIXED_ANSWER)
        else:
            expect(name, server.port, prefix + path, wanted, body)
        measure_one(name, WARM_UP)
    rounds = {name: [] for name in servers}
    for number in range(ROUNDS):
        for name in list(servers)[:: -1 if number % 2 else 1]:
            rounds[name].append(retry_if_noisy(lambda: measure_one(name, SECONDS)))
    return {
        name: {key: statistics.median(figures[key] for figures in several) for key in several[0]}
        | {"memory": servers[name][0].memory()}
        for name, several in rounds.items()
    }


def report(endpoint, measured, versions):
    ours = measured[PICLOUD]
    rows = []
    if FIXED in measured:
        fixed = measured[FIXED]
        rows += [
            page.row(f"{endpoint}, requests per second", FIXED, ours["clock"] / fixed["clock"], "≥ 0.85",
                     f"{ours['clock']:,.0f} / {fixed['clock']:,.0f}"),
            page.row(f"{endpoint}, p99", FIXED, ours["p99"] / fixed["p99"], "≤ 1.3",
                     f"{ours['p99']:.2f} ms / {fixed['p99']:.2f} ms"),
        ]
    peers = [name for name in measured if name not in (PICLOUD, FIXED)]
    target = "≥ 1" if endpoint == "hello" else "–"
    for name in peers:
        theirs = measured[name]
        rows.append(page.row(
            f"{endpoint}, requests per second of CPU", name, ours["cpu"] / theirs["cpu"], "–" if name == AXUM else target,
            f"{ours['cpu']:,.0f} / {theirs['cpu']:,.0f}"))
    ahead = sorted((name for name in peers if measured[name]["cpu"] > ours["cpu"]), key=lambda name: -measured[name]["cpu"])
    better = ", ".join(f"{name} ({measured[name]['cpu'] / ours['cpu']:.1f} times as many)" for name in ahead)
    verdict = f"**PiCloud is behind** {better}." if ahead else "PiCloud is ahead of all of them."
    raw = [
        [name, f"{figures['clock']:,.0f}", f"{figures['cpu']:,.0f}", f"{figures['p99']:.2f} ms", f"{figures['memory']:.0f} MiB"]
        for name, figures in sorted(measured.items(), key=lambda item: -item[1]["cpu"])
    ]
    section = ENDPOINTS[endpoint][0]
    how = f"{ABOUT[endpoint]} {load.CONNECTIONS} connections, {ROUNDS} spans of {SECONDS} s each in turn, medians."
    how += f" {noise_note(measured.values())}"
    grid = page.table(raw, ["server", "requests per second", "requests per second of CPU", "p99", "memory after the load"])
    page.write(section, f"bench/peers.py {endpoint}", versions, how, page.table(rows), verdict, grid)


def main():
    chosen = sys.argv[1:] or list(ENDPOINTS)
    unknown = set(chosen) - set(ENDPOINTS)
    if unknown:
        sys.exit(f"usage: bench/peers.py [{'] ['.join(ENDPOINTS)}]")
    need_two_cores()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        servers, versions = start(Path(scratch), stack)
        for endpoint in chosen:
            report(endpoint, measure(servers, endpoint), versions)


if __name__ == "__main__":
    main()
