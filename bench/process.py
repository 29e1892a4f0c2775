"""Programs that run while something is measured: started, watched and ended."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RELEASE = TARGET / "release"
# What is made or installed once and used by later runs.
KEPT = TARGET / "bench"

CORES = sorted(os.sched_getaffinity(0))
# What is measured has a core for itself; what asks it, and everything else, has the other.
SERVER_CORE, CLIENT_CORE = CORES[-1], CORES[0]

# What other programs may use of a core without a measurement being made again, TRIES times in all.
QUIET = 0.05
TRIES = 3

TICKS = os.sysconf("SC_CLK_TCK")

# A run that is told to stop ends what it started, as one that fails does.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


def need_two_cores():
    if len(CORES) < 2:
        sys.exit("this needs two cores: one for the server, one for the load")


def run(command, **options):
    """Runs a command that must succeed; gives back its seconds and the most memory it held, in MiB."""
    options.setdefault("stdout", subprocess.DEVNULL)
    options.setdefault("stderr", subprocess.PIPE)
    began = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], **options)
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{errors.decode(errors='replace')}")
    return took, usage.ru_maxrss / 1024


def output(command, **options):
    """What a command that must succeed prints."""
    options.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr or ''}")
    return done.stdout.strip()


def pinned(core):
    """For `preexec_fn`: the process and its children run on one core."""
    return lambda: os.sched_setaffinity(0, {core})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A program that listens on a port of loopback, in a session of its own, with which all its children end."""

    def __init__(self, command, port, log, core=None, environment=None, folder=None):
        self.port = port
        self.log = Path(log)
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, **(environment or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=None if core is None else pinned(core),
            )
        try:
            self.await_port()
        except BaseException:
            self.stop()
            raise

    def await_port(self):
        for _ in range(1200):
            if self.process.poll() is not None:
                sys.exit(f"{self.process.args[0]} ended:\n{self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.025)
        sys.exit(f"{self.process.args[0]} does not listen on port {self.port}:\n{self.last_words()}")

    def last_words(self):
        return self.log.read_text(errors="replace")[-4000:]

    def processes(self):
        """The ids of all its processes, each with the fields of its `stat` behind the name (proc(5))."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) == self.process.pid:
                    yield entry, fields

    def cpu(self):
        """The seconds of CPU that it has used, in user mode and in the kernel."""
        return sum(int(fields[11]) + int(fields[12]) for _, fields in self.processes()) / TICKS

    def memory(self):
        """The MiB that it holds in memory; what several processes share counts in parts (PSS)."""
        kilobytes = 0
        for entry, _ in self.processes():
            for line in (entry / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
        return kilobytes / 1024

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(15)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                continue
            break
        # What outlives its parent goes with the session.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Watch:
    """Watches what other programs use of the two cores while `server` is measured."""

    def __init__(self, server):
        self.server = server
        self.began, self.before = time.monotonic(), self.counted()

    def counted(self):
        """The seconds that the cores were busy, less those of the server, of this program and of what it has run."""
        ticks = 0
        with open("/proc/stat") as file:
            for line in file:
                name, *fields = line.split()
                if name in (f"cpu{SERVER_CORE}", f"cpu{CLIENT_CORE}"):
                    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
                    ticks += user + nice + system + irq + softirq + steal
        own = os.times()
        return ticks / TICKS - self.server.cpu() - sum(own[:4])

    def others(self):
        """Their share of one core."""
        return max(self.counted() - self.before, 0) / (time.monotonic() - self.began)


def in_peace(measure):
    """Measures again while other programs disturb, which `measure` says as `others`; the quietest try counts."""
    tries = [measure()]
    while tries[-1]["others"] > QUIET and len(tries) < TRIES:
        tries.append(measure())
    return min(tries, key=lambda figures: figures["others"])


def disturbance(figures):
    """How much other programs have disturbed what counted, in words."""
    most = max(each["others"] for each in figures)
    again = "; measure again on a quiet machine" if most > QUIET else ""
    return f"Other programs used up to {most:.0%} of a core meanwhile{again}."


def nginx():
    """Debian keeps it where not every user's PATH leads."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or sys.exit("nginx is not installed")
