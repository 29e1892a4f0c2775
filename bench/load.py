"""Load from wrk on keep-alive connections, pinned to its own core."""

import json
import subprocess
import sys

from process import CLIENT_CORE, ROOT, output, pinned

SCRIPT = ROOT / "bench" / "load.lua"

# Few enough for immediate responses, enough to saturate the server.
CONNECTIONS = 32


def command(url, seconds, script=SCRIPT, arguments=()):
    return ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url, "--", *arguments]


def parse_result(text):
    """Parses the output of load.lua: requests, seconds, p50 and p99 in milliseconds, and failures."""
    for line in text.splitlines():
        if line.startswith("measured "):
            return json.loads(line.removeprefix("measured "))
    sys.exit(f"error: no result in the output of wrk:\n{text}")


def load(name, url, seconds, body=None):
    """Puts a server under full load; exits if a request fails."""
    arguments = [] if body is None else [body]
    figures = parse_result(output(command(url, seconds, arguments=arguments), preexec_fn=pinned(CLIENT_CORE)))
    if figures["wrong"] or figures["broken"] or not figures["requests"]:
        sys.exit(f"error: {name} failed under load: {figures}")
    return figures


def version():
    # wrk -v prints the version with the usage, and exits with an error.
    completed = subprocess.run(["wrk", "-v"], capture_output=True, text=True)
    return " ".join((completed.stdout + completed.stderr).split()[:2])
