"""Load by wrk, on connections that stay open, from a core of its own."""

import json
import subprocess
import sys

from process import CLIENT_CORE, ROOT, output, pinned

SCRIPT = ROOT / "bench" / "load.lua"

# Few enough for any server to answer at once, enough to keep it busy all the time.
CONNECTIONS = 32


def command(url, seconds, script=SCRIPT, arguments=()):
    return ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url, "--", *arguments]


def measured(text):
    """The figures in what wrk has printed: requests, seconds, p50 and p99 in milliseconds, and what failed."""
    for line in text.splitlines():
        if line.startswith("measured "):
            return json.loads(line.removeprefix("measured "))
    sys.exit(f"wrk does not say what it measured:\n{text}")


def load(name, url, seconds, body=None):
    """Asks one server as fast as it answers; every answer must be a good one."""
    arguments = [] if body is None else [body]
    figures = measured(output(command(url, seconds, arguments=arguments), preexec_fn=pinned(CLIENT_CORE)))
    if figures["wrong"] or figures["broken"] or not figures["requests"]:
        sys.exit(f"{name} failed under load: {figures}")
    return figures


def version():
    # It prints its version with a usage and calls that a failure.
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True)
    return " ".join((said.stdout + said.stderr).split()[:2])
