"""Processes of the benchmarks: start, monitor, stop."""

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
# Generated and installed files that later runs reuse.
CACHE = TARGET / "bench"

CORES = sorted(os.sched_getaffinity(0))
# The server under test has its own core; the load generator and everything else run on the other.
SERVER_CORE, CLIENT_CORE = CORES[-1], CORES[0]

# A measurement is repeated, up to ATTEMPTS_MAX times, while other programs use more of a core than this.
NOISE_MAX = 0.05
ATTEMPTS_MAX = 3

TICKS = os.sysconf("SC_CLK_TCK")

# On SIGTERM, exit like on an error, which stops all child processes.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


def need_two_cores():
    if len(CORES) < 2:
        sys.exit("error: two cores are required, for the server and for the load")


def run(command, **options):
    """Runs a command. Returns its duration in seconds and its peak memory in MiB; exits if it fails."""
    options.setdefault("stdout", subprocess.DEVNULL)
    options.setdefault("stderr", subprocess.PIPE)
    started_at = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], **options)
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.monotonic() - started_at
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{errors.decode(errors='replace')}")
    return elapsed, usage.ru_maxrss / 1024


def output(command, **options):
    """The output of a command; exits if it fails."""
    options.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr or ''}")
    return done.stdout.strip()


def pinned(core):
    """For `preexec_fn`: pins the process and its children to one core."""
    return lambda: os.sched_setaffinity(0, {core})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A program that listens on a loopback port, in its own session, so that `stop` ends all its children."""

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
            self.wait_for_port()
        except BaseException:
            self.stop()
            raise

    def wait_for_port(self):
        for _ in range(1200):
            if self.process.poll() is not None:
                sys.exit(f"{self.process.args[0]} exited:\n{self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.025)
        sys.exit(f"{self.process.args[0]} does not listen on port {self.port}:\n{self.log_tail()}")

    def log_tail(self):
        return self.log.read_text(errors="replace")[-4000:]

    def processes(self):
        """All its processes, each with the fields of `stat` after the name (proc(5))."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) == self.process.pid:
                    yield entry, fields

    def cpu(self):
        """CPU time in seconds, user and system."""
        return sum(int(fields[11]) + int(fields[12]) for _, fields in self.processes()) / TICKS

    def memory(self):
        """Resident memory in MiB; shared pages count proportionally (PSS)."""
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
        # Children that outlived their parent.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class NoiseMonitor:
    """Monitors the CPU usage of other programs while `server` is measured."""

    def __init__(self, server):
        self.server = server
        self.started_at, self.before = time.monotonic(), self.busy_seconds()

    def busy_seconds(self):
        """CPU time of both cores in seconds, without that of the server, this program and its children."""
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
        """The CPU usage of other programs, as a fraction of one core."""
        return max(self.busy_seconds() - self.before, 0) / (time.monotonic() - self.started_at)


def retry_if_noisy(measure):
    """Repeats a measurement while other programs use too much CPU (`others` in its result); returns the quietest one."""
    attempts = [measure()]
    while attempts[-1]["others"] > NOISE_MAX and len(attempts) < ATTEMPTS_MAX:
        attempts.append(measure())
    return min(attempts, key=lambda figures: figures["others"])


def noise_note(figures):
    """A sentence about the CPU usage of other programs."""
    most = max(each["others"] for each in figures)
    again = "; repeat on an idle machine" if most > NOISE_MAX else ""
    return f"Other programs used up to {most:.0%} of a core meanwhile{again}."


def nginx():
    """Debian installs nginx in /usr/sbin, which is not in every PATH."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or sys.exit("error: nginx is not installed")
