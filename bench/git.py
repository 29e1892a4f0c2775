#!/usr/bin/env python3
"""Compares the git server with git, and writes the table in bench/README.md.

Each row is a ratio to its reference in the same run: git index-pack for packs, git http-backend behind nginx for pushes and
clones. Everything runs on loopback in a temporary directory; the large repository is generated once and kept in target/bench.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import page
from node import GIT_ENVIRONMENT, Picloud, git, repository, git_output
from process import CACHE, RELEASE, Server, free_port, nginx, run

INGEST = RELEASE / "examples" / "ingest"

# About 190,000 objects: each commit changes one file in a directory, which adds a commit, three trees and a blob.
LARGE_COMMITS = 38_000
LARGE_FILES = 400

SMALL_PUSHES = 30
PUSHES_IN_A_ROW = int(os.environ.get("BENCH_PUSHES", "1000"))
ROUNDS = 3

# Limits for the large repository.
LARGE = ["--max-push-size", "1GiB", "--max-push-objects", "1000000", "--max-unpacked-size", "16GiB"]


class HttpBackend:
    """git http-backend behind nginx, with two fcgiwrap processes."""

    def __init__(self, folder):
        self.repositories = folder / "repositories"
        self.repositories.mkdir()
        self.port = free_port()
        sock = folder / "fcgi.sock"
        backend = Path(git_output(folder, "--exec-path")) / "git-http-backend"
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"""
            {"user root;" if os.getuid() == 0 else ""}
            daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 2;
            events {{ worker_connections 512; }}
            http {{
                access_log off; client_max_body_size 0; client_body_temp_path {folder}/body;
                fastcgi_temp_path {folder}/fastcgi; proxy_temp_path {folder}/proxy;
                uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
                server {{
                    listen 127.0.0.1:{self.port};
                    location / {{
                        fastcgi_pass unix:{sock};
                        fastcgi_param SCRIPT_FILENAME {backend};
                        fastcgi_param GIT_PROJECT_ROOT {self.repositories};
                        fastcgi_param GIT_HTTP_EXPORT_ALL "";
                        fastcgi_param GIT_PROTOCOL $http_git_protocol;
                        fastcgi_param REMOTE_USER ada;
                        fastcgi_param PATH_INFO $uri;
                        fastcgi_param QUERY_STRING $query_string;
                        fastcgi_param REQUEST_METHOD $request_method;
                        fastcgi_param CONTENT_TYPE $content_type;
                        fastcgi_param CONTENT_LENGTH $content_length;
                        fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
                    }}
                }}
            }}
            """
        )
        # A signal to its process group ends fcgiwrap and its children.
        self.fcgi = subprocess.Popen(
            ["fcgiwrap", "-c", "2", "-s", f"unix:{sock}"], env=GIT_ENVIRONMENT, start_new_session=True
        )
        try:
            self.nginx = Server([nginx(), "-c", configuration, "-p", folder], self.port, folder / "nginx.out")
        except BaseException:
            self.stop_fcgi()
            raise

    def url(self, name):
        repository = self.repositories / f"{name}.git"
        if not repository.exists():
            git(self.repositories, "init", "-q", "--bare", "-b", "main", repository)
        return f"http://127.0.0.1:{self.port}/{name}.git"

    def stop_fcgi(self):
        os.killpg(self.fcgi.pid, signal.SIGTERM)
        self.fcgi.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.nginx.stop()
        self.stop_fcgi()


def large_repository():
    """A bare repository of about 190,000 objects in one pack, generated deterministically by git fast-import."""
    repository = CACHE / "large.git"
    if repository.exists():
        return repository
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = CACHE / "large.partial"
    shutil.rmtree(partial, ignore_errors=True)
    git(CACHE, "init", "-q", "--bare", "-b", "main", partial)
    importer = subprocess.Popen(
        ["git", "-C", str(partial), "fast-import", "--quiet", "--depth=50"], env=GIT_ENVIRONMENT, stdin=subprocess.PIPE
    )
    write = importer.stdin.write
    manifest = b'sdk = "1.1"\n\n[[functions]]\nname = "main"\nscript = "main.rhai"\n'
    for number in range(LARGE_COMMITS):
        message = b"change %d" % number
        write(b"commit refs/heads/main\ncommitter Ada <ada@example.com> %d +0000\n" % (1_700_000_000 + number))
        write(b"data %d\n%s\n" % (len(message), message))
        if number == 0:
            for path, text in ((b"picloud.toml", manifest), (b"main.rhai", b"42\n")):
                write(b"M 644 inline %s\ndata %d\n%s\n" % (path, len(text), text))
        file = number % LARGE_FILES
        lines = b"".join(b"line %d of file %d, %d\n" % (line, file, (number * (line + 7)) % 9973) for line in range(60))
        write(b"M 644 inline notes/%02d/%03d.md\ndata %d\n%s\n" % (file % 20, file, len(lines), lines))
    importer.stdin.close()
    if importer.wait() != 0:
        sys.exit("error: git fast-import failed")
    git(partial, "repack", "-adfq", "--depth=50", "--window=10")
    partial.rename(repository)
    return repository


def small_repository(folder):
    """A working copy of twenty scripts with a route each."""
    routes = "".join(f'\n[[routes]]\npath = "/r{number}"\nscript = "r{number}.rhai"\n' for number in range(20))
    scripts = {f"r{number}.rhai": f"#{{ number: {number}, path: ctx.request.path }}\n" for number in range(20)}
    return repository(folder, {"picloud.toml": 'sdk = "1.1"\n' + routes, **scripts})


def ingest(large, scratch):
    pack = next((large / "objects" / "pack").glob("*.pack"))
    tip = git_output(large, "rev-parse", "main")
    ours, theirs = [], []
    for number in range(ROUNDS):
        target = scratch / f"index-{number}.git"
        git(scratch, "init", "-q", "--bare", target)
        with pack.open("rb") as stream:
            theirs.append(git(target, "index-pack", "--stdin", "--fix-thin", stdin=stream))
        ours.append(run([INGEST, pack, tip], env=GIT_ENVIRONMENT))
        shutil.rmtree(target)
    seconds = [statistics.median(elapsed for elapsed, _ in side) for side in (ours, theirs)]
    memory = max(memory for _, memory in ours)
    count = git_output(large, "count-objects", "-v").split("in-pack: ")[1].split()[0]
    return [
        (f"index a pack of {count} objects", "git index-pack --stdin --fix-thin", seconds[0] / seconds[1], "≤ 0.8",
         f"{seconds[0]:.2f} s / {seconds[1]:.2f} s"),
        ("its peak memory", "256 MiB", memory / 256, "≤ 1", f"{memory:.0f} MiB resident"),
    ]


def pushes(node, backend, scratch):
    """One-file changes, pushed to both servers in turn; then rollbacks by pushing the previous commit."""
    work = small_repository(scratch / "small")
    urls = [node.url("small"), backend.url("small")]
    first, _ = git(work, "push", "-q", urls[0], "main")
    git(work, "push", "-q", urls[1], "main")
    elapsed = [[], []]
    back = []
    for number in range(SMALL_PUSHES):
        (work / "r0.rhai").write_text(f"#{{ change: {number}, path: ctx.request.path }}\n")
        git(work, "commit", "-qam", f"change {number}")
        for side in (0, 1) if number % 2 else (1, 0):
            elapsed[side].append(git(work, "push", "-q", urls[side], "main")[0])
        back.append(git(work, "push", "-qf", urls[0], "HEAD~1:main")[0])
        git(work, "push", "-q", urls[0], "main")
    ours, theirs, rollback = (statistics.median(side) for side in (*elapsed, back))
    return [
        ("push a one-file change, until live", "git http-backend behind nginx", ours / theirs, "≤ 0.75",
         f"{ours * 1000:.1f} ms / {theirs * 1000:.1f} ms"),
        ("roll back, until live", "the first push", rollback / first, "0.3 of the server time",
         f"{rollback * 1000:.1f} ms / {first * 1000:.1f} ms, mostly the git client"),
    ]


def clones(node, backend, large, scratch):
    git(large, "push", "-q", node.url("large"), "main")
    reference = backend.url("large")
    shutil.rmtree(backend.repositories / "large.git")
    shutil.copytree(large, backend.repositories / "large.git")
    elapsed = [[], []]
    for number in range(ROUNDS):
        for side, url in enumerate([node.url("large"), reference]):
            target = scratch / "clone"
            elapsed[side].append(run(["git", "clone", "-q", "--bare", url, target], env=GIT_ENVIRONMENT)[0])
            shutil.rmtree(target)
    ours, theirs = (statistics.median(side) for side in elapsed)
    return [
        ("clone the large repository", "git http-backend behind nginx", ours / theirs, "≤ 1.5", f"{ours:.2f} s / {theirs:.2f} s"),
    ]


def many_pushes(scratch):
    """Consecutive pushes: the time of the last ones compared with early ones, and the size of the database compared with git gc."""
    work = small_repository(scratch / "many")
    with Picloud(scratch / "alone") as node:
        url = node.url("many")
        elapsed = []
        for number in range(PUSHES_IN_A_ROW):
            (work / f"r{number % 20}.rhai").write_text(f"#{{ change: {number}, path: ctx.request.path }}\n")
            git(work, "commit", "-qam", f"change {number}")
            elapsed.append(git(work, "push", "-q", url, "main")[0])
    # The database after shutdown. It also has the deploy history, which git does not have.
    whole = node.bytes_stored()
    bare = scratch / "many.git"
    git(scratch, "clone", "-q", "--bare", work, bare)
    git(bare, "gc", "-q", "--prune=now")
    kept = sum(file.stat().st_size for file in (bare / "objects").rglob("*") if file.is_file())
    early, late = statistics.median(elapsed[5:15]), statistics.median(elapsed[-10:])
    return [
        (f"push {PUSHES_IN_A_ROW} of {PUSHES_IN_A_ROW}", "push 10", late / early, "≤ 1.1",
         f"{late * 1000:.1f} ms / {early * 1000:.1f} ms"),
        (f"the database after {PUSHES_IN_A_ROW} pushes", "a bare repository's objects after git gc", whole / kept, "≤ 2",
         f"{whole / 1e6:.2f} MB / {kept / 1e6:.2f} MB"),
    ]


def main():
    large = large_repository()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows += ingest(large, folder)
        with Picloud(folder / "picloud", *LARGE) as node, HttpBackend(folder) as backend:
            rows += pushes(node, backend, folder)
            rows += many_pushes(folder)
            rows += clones(node, backend, large, folder)
    version = subprocess.run(["git", "--version"], capture_output=True, text=True).stdout.strip()
    page.write("Git", "bench/git.py", [version], page.table([page.row(*row) for row in rows]))


if __name__ == "__main__":
    main()
