#!/usr/bin/env python3
"""Compares the cost of a hit between the gateway, nginx and a bare hyper server, in one run.

    apt-get install nginx wrk
    benches/compare/compare.py

Servers run on one core, one after the other; the load generator and the stand-in upstream run on another.
The figure to compare is CPU time per request: unlike throughput it does not depend on the speed of the
generator. Rounds are interleaved, so that disturbances affect all servers alike. Compare ratios within one
run, never microseconds of two runs.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
TOKEN = "a-token-of-the-comparison-0123456789abcdef"
KEY = "a-key-of-the-comparison"
CALLS = 1000
CONNECTIONS = 32


def built():
    """Builds the gateway and the bare server; returns their paths."""
    lines = subprocess.run(
        ["cargo", "build", "--release", "--quiet", "--bench", "bare", "--message-format", "json"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    bare = [m["executable"] for m in found if m.get("executable") and m["target"]["name"] == "bare"]
    # After the bench: its build also leaves a gateway binary, with features that only tests need.
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"],
                              cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Path(json.loads(metadata)["target_directory"]) / "release" / "credira-gateway", Path(bare[0])


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % probe.getsockname()[1]


def start(argv, core):
    return subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core}))


def filled(name, values):
    text = (HERE / f"{name}.in").read_text()
    for key, value in values.items():
        text = text.replace("{%s}" % key, str(value))
    path = Path(values["folder"]) / name
    path.write_text(text)
    return path


def family(pid):
    """The process and its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(fields(entry.name)[1])
            except OSError:
                pass
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def fields(pid):
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2:].split()


def cpu_seconds(pid):
    """Per process of the family."""
    seconds = {}
    for member in family(pid):
        try:
            seconds[member] = sum(map(int, fields(member)[11:13])) / TICKS
        except OSError:
            pass
    return seconds


def status(address, call, token=TOKEN):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(f"GET /v1/calls/{call} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n"
                       "Connection: close\r\n\r\n".encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
        return int(answer.split(b" ", 2)[1])


def wait_for(address):
    for _ in range(500):
        try:
            if status(address, "call_0") == 200:
                return
        except (OSError, IndexError):
            pass
        time.sleep(0.01)
    raise SystemExit(f"no answer from {address}")


def wrk(address, seconds, core):
    out = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", HERE / "hits.lua", f"http://{address}",
         "--", TOKEN, str(CALLS)],
        check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})).stdout
    requests, failed = map(int, out.splitlines()[-1].split())
    if failed:
        raise SystemExit(f"{failed} requests failed at {address}")
    return requests


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each round")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    missing = [name for name in ("nginx", "wrk") if not shutil.which(name)]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    gateway, bare = built()
    running = []
    with tempfile.TemporaryDirectory(prefix="compare-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        os.chmod(folder, 0o755)
        try:
            upstream = free_address()
            running.append(start([gateway, "mock-upstream", "--listen", upstream, "--api-key", KEY], cores[1]))
            servers = {}
            for name in ("gateway", "nginx", "bare hyper"):
                address = free_address()
                values = dict(folder=folder, address=address, upstream=upstream, token=TOKEN, key=KEY)
                command = {
                    "gateway": lambda: [gateway, "serve", "--config", filled("gateway.toml", values)],
                    "nginx": lambda: ["nginx", "-e", "stderr", "-p", folder, "-c", filled("nginx.conf", values)],
                    "bare hyper": lambda: [bare, address],
                }[name]()
                process = start(command, cores[0])
                running.append(process)
                wait_for(address)
                if name != "bare hyper" and status(address, "call_0", "unknown-token") != 401:
                    raise SystemExit(f"{name} accepts an unknown token")
                wrk(address, 1, cores[1])
                servers[name] = (address, process)
            rounds = {name: [] for name in servers}
            order = list(servers)
            for number in range(options.rounds):
                turn = number % len(order)
                for name in order[turn:] + order[:turn]:
                    address, process = servers[name]
                    before = cpu_seconds(process.pid)
                    requests = wrk(address, options.seconds, cores[1])
                    # nginx's cache loader ends on its own, a minute after the start.
                    spent = sum(now - before.get(pid, 0) for pid, now in cpu_seconds(process.pid).items())
                    rounds[name].append((spent / requests * 1e6, requests / options.seconds))
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(10)
    report(rounds)


def report(rounds):
    cpu = {name: statistics.median(r[0] for r in rows) for name, rows in rounds.items()}
    rate = {name: statistics.median(r[1] for r in rows) for name, rows in rounds.items()}
    print("| server | CPU per hit, × nginx | × bare hyper | hits per second and core, × nginx | CPU µs per hit | spread |")
    print("|---|---|---|---|---|---|")
    for name, rows in rounds.items():
        values = sorted(r[0] for r in rows)
        print(f"| {name} | {cpu[name] / cpu['nginx']:.2f} | {cpu[name] / cpu['bare hyper']:.2f} "
              f"| {rate[name] / rate['nginx']:.2f} | {cpu[name]:.2f} | {(values[-1] - values[0]) / cpu[name]:.0%} |")


if __name__ == "__main__":
    main()
