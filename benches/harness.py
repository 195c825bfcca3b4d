"""What the benches of the whole program share: processes of their own, their memory and processor time, and lookups.

Servers run on one core, the load and what stands in for the upstream on another, as in `compare/compare.py`. Compare
figures of one run alone, taken in turns: the machine changes from minute to minute, and all are disturbed alike.
"""

import multiprocessing
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/credira-gateway"
TOKENS = {name: f"a-token-of-the-benches-of-{name}-0123456789abcdef" for name in ("a", "b")}
CORES = sorted(os.sched_getaffinity(0))
SERVER, LOAD = CORES[0], CORES[-1]
TICKS = os.sysconf("SC_CLK_TCK")


def program_of(arguments, usage):
    """The program that the command line names, and what is needed."""
    if any(argument.startswith("-") for argument in arguments) or len(arguments) > 1:
        sys.exit(usage)
    program = Path(arguments[0] if arguments else PROGRAM).resolve()
    if not program.is_file():
        sys.exit(f"{program} is not there: cargo build --release")
    return program


def need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")


def on_core(core, niceness=0):
    """Makes a child run there."""
    def apply():
        os.sched_setaffinity(0, {core})
        os.nice(niceness)
    return apply


def configuration(upstream, more="", routes=("call",), tenants=("a",)):
    """Of a gateway with these tenants, and these lines before them."""
    allowed = ", ".join(f'"{route}"' for route in routes)
    return (f'[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:0"\n[log]\naccess = "off"\n'
            f'[upstream]\nbase_url = "http://{upstream}"\n{more}\n' + "".join(
                f'[[tenants]]\nname = "{name}"\ntokens = [{{ value = "{TOKENS[name]}" }}]\n'
                f'upstream_key = {{ value = "key-of-{name}" }}\nroutes = [{allowed}]\n' for name in tenants))


class Process:
    """A child on a core of its own, and the text that it writes."""

    def __init__(self, command, folder, core, niceness=0, environment=None):
        self.log = Path(folder) / f"log-{time.monotonic_ns()}"
        out = self.log.open("wb")
        self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                      env=environment, preexec_fn=on_core(core, niceness))
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(60)

    def wrote(self, pattern):
        """Waits for it."""
        for _ in range(3000):
            if found := re.search(pattern, self.log.read_text()):
                return found[1]
            if self.child.poll() is not None:
                break
            time.sleep(0.01)
        sys.exit(f"nothing like {pattern}: {self.log.read_text()}")

    def cpu(self):
        """Seconds of processor time of the process and its children."""
        return sum(ticks(fields) for pid, _, fields in stats(Path("/proc"))
                   if self.pid in (pid, int(fields[1]))) / TICKS

    def cpu_of_threads(self, name):
        """Seconds of processor time of the process's threads with this name."""
        threads = stats(Path(f"/proc/{self.pid}/task"))
        return sum(ticks(fields) for _, called, fields in threads if called == name) / TICKS

    def memory(self):
        """Its proportional set size in bytes, once it has come to rest."""
        last, now = None, self.memory_now()
        while last != now:
            time.sleep(0.7)
            last, now = now, self.memory_now()
        return now

    def memory_now(self, kind="Pss"):
        """The same at once; of kind `Pss_Anon` what is its own, the pages of the program and of libraries left out."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return 1024 * int(re.search(rf"^{kind}: +(\d+)", rollup, re.M)[1])


def stats(folder):
    """Of each process or thread there its number, its name, and what follows the name in its stat file."""
    for entry in folder.iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            name, fields = text.split("(", 1)[1].rsplit(") ", 1)
            yield int(entry.name), name, fields.split()


def ticks(fields):
    return int(fields[11]) + int(fields[12])


class Gateway(Process):
    """A gateway with its two listeners."""

    def __init__(self, program, text, folder, core=SERVER, environment=None):
        path = Path(folder) / "gateway.toml"
        path.write_text(text)
        super().__init__([program, "serve", "--config", path], folder, core, environment=environment)
        self.address = self.wrote(r'"plane":"data","address":"([^"]+)"')
        self.admin = self.wrote(r'"plane":"admin","address":"([^"]+)"')

    def metric(self, series):
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^credira_gateway_{re.escape(series)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    @property
    def place(self):
        host, port = self.address.split(":")
        return host, int(port)

    def connect(self):
        return socket.create_connection(self.place, timeout=60)


def mock(program, folder):
    """The stand-in for the API, beside the load; its address is what `wrote` finds."""
    process = Process([program, "mock-upstream", "--listen", "127.0.0.1:0"], folder, LOAD)
    return process, process.wrote(r"listening on http://(\S+)")


def look_up(gateway, paths, requests, *flags, clients=1, tenant="a", fields=()):
    """Requests these paths in turn with h2load; gives each request's start, status and time in microseconds, in
    the order of their ends."""
    with tempfile.TemporaryDirectory() as folder:
        urls, log = Path(folder) / "urls", Path(folder) / "log"
        urls.write_text("".join(f"http://{gateway.address}{path}\n" for path in paths))
        lines = [f"Authorization: Bearer {TOKENS[tenant]}", *fields]
        command = ["h2load", "-n", str(requests), "-c", str(clients), *flags, "-i", urls, f"--log-file={log}"]
        for line in lines:
            command += ["-H", line]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=on_core(LOAD))
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        rows = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    strange = [status for _, status, _ in rows if status != 200]
    if strange or len(rows) != requests:
        sys.exit(f"{len(rows)} answers of {requests}, {len(strange)} of them not 200: {done.stdout}")
    return rows


def times(rows):
    return sorted(took for _, _, took in rows)


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def in_turns(rounds, variants):
    """Runs each variant, a function, once a round, each round beginning with another; gives the results by name."""
    results, names = {name: [] for name in variants}, list(variants)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            results[name].append(variants[name]())
    return results


def median(values):
    return statistics.median(values)


def ratio(results, one, other, of=lambda result: result):
    """The median of the rounds' ratios."""
    return median(of(a) / of(b) for a, b in zip(results[one], results[other]))


def calls(count, prefix):
    return [f"/v1/calls/call_{prefix}{number}" for number in range(count)]


class Beside:
    """A function in a process of its own on the load's core, behind everything else there. Given a count to raise."""

    def __init__(self, function, *arguments, niceness=5):
        self.count = multiprocessing.Value("Q", 0)

        def run():
            on_core(LOAD, niceness)()
            function(self.count, *arguments)

        self.child = multiprocessing.get_context("fork").Process(target=run, daemon=True)

    def __enter__(self):
        self.child.start()
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.join()


def listener():
    """A socket for an upstream in a process beside, and its address."""
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    return server, "127.0.0.1:%d" % server.getsockname()[1]
