"""A PiCloud node, and the real git that pushes to it."""

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


def said(folder, *arguments):
    return subprocess.run(
        ["git", "-C", folder, *arguments], env=GIT_ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout.strip()


class Picloud(Server):
    """A node on the embedded database in `folder`, which may be one that another node has left, or on a PostgreSQL."""

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
    """A working copy with one commit of `files`, texts by their paths."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for path, text in files.items():
        (folder / path).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def ask(port, path, body=None):
    """One request, by POST where there is a body; gives back status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def expect(name, port, path, wanted, body=None):
    """Ends the run where the answer is not 200 with `wanted`: bytes as they are, or anything else as JSON."""
    status, headers, answer = ask(port, path, body)
    if isinstance(wanted, bytes):
        right = answer == wanted
    else:
        right = headers.get_content_type() == "application/json" and json.loads(answer or b"null") == wanted
    if status != 200 or not right:
        sys.exit(f"{name} answers {path} with {status}, {answer[:200]!r}")


def await_ready(port):
    """Waits until a node does its whole work."""
    for _ in range(400):
        if ask(port, "/-/health/ready")[0] == 200:
            return
        time.sleep(0.025)
    sys.exit("the node does not become ready")
