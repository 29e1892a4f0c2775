"""A PiCloud node, and git as its client."""

import http.client
import json
import os
import subprocess
import sys
import time

from process import RELEASE, Server, free_port, run

PICLOUD = RELEASE / "picloud"
TOKEN = "bench-bench-bench-bench-bench-bench"

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def git(folder, *arguments, **options):
    return run(["git", "-C", folder, *arguments], env=GIT_ENVIRONMENT, **options)


def git_output(folder, *arguments):
    return subprocess.run(
        ["git", "-C", folder, *arguments], env=GIT_ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout.strip()


class Picloud(Server):
    """A node with SQLite in `folder`, new or existing, or with PostgreSQL."""

    def __init__(self, folder, *flags, core=None, database=None):
        self.data = folder
        port = free_port()
        command = [PICLOUD, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", folder, *flags]
        environment = {"PICLOUD_ADMIN_TOKEN": TOKEN, "PICLOUD_LOG": "warn"}
        if database is not None:
            environment["DATABASE_URL"] = database
        super().__init__(command, port, folder.with_suffix(".log"), core, environment)

    def url(self, app):
        return f"http://ada:{TOKEN}@127.0.0.1:{self.port}/{app}.git"

    def bytes_stored(self):
        return sum(file.stat().st_size for file in self.data.iterdir() if file.name.startswith("picloud.db"))


def repository(folder, files):
    """A working copy with one commit of `files`, a map from path to text."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for path, text in files.items():
        (folder / path).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def request(port, path, body=None, headers=None):
    """Sends a GET request, or a POST request with a body. Returns status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def expect(name, port, path, wanted, body=None):
    """Exits unless the response is 200 with the body `wanted`: bytes, or a JSON value."""
    status, headers, content = request(port, path, body)
    if isinstance(wanted, bytes):
        matches = content == wanted
    else:
        matches = headers.get_content_type() == "application/json" and json.loads(content or b"null") == wanted
    if status != 200 or not matches:
        sys.exit(f"error: {name}: unexpected response for {path}: {status}, {content[:200]!r}")


def wait_until_ready(port):
    """Waits until the node is ready."""
    for _ in range(400):
        if request(port, "/-/health/ready")[0] == 200:
            return
        time.sleep(0.025)
    sys.exit("error: the node is not ready")
