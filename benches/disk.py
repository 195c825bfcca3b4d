#!/usr/bin/env python3
"""What the disk level costs: hits, misses, recalls, the start and memory, each with the level on and off.

    cargo build --release
    benches/disk.py [PROGRAM]             default target/release/credira-gateway

Files go to the folder for temporary files (TMPDIR), which should be on a disk. Needs h2load (nghttp2-client) and
strace, and about five minutes. The instructions of a hit and a miss with the level are per_request.py's.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import Gateway, calls, configuration, in_turns, look_up, median, mock, need, percentile, program_of, ratio
from harness import times

MISSES, MISS_ROUNDS = 8_000, 10
RECALLS, RECALL_ROUNDS = 2_000, 6
STARTS = 20
IDLE = 5
TRACED = 500
# Bytes of a full file of 256 MiB: a sixteenth of them is for its journal.
FULL = 240 << 20
H1 = ("--h1",)


def text(upstream, folder=None):
    return configuration(upstream, f'[disk]\npath = "{folder}"' if folder else "")


def system_calls(program, upstream, folder, disk):
    """Of a series of hits, by name, of all threads."""
    with Gateway(program, text(upstream, disk), folder) as gateway:
        look_up(gateway, calls(1, "s"), 50, *H1)
        time.sleep(1)
        prefix = Path(folder) / f"strace-{'on' if disk else 'off'}"
        tracer = subprocess.Popen(["strace", "-q", "-ff", "-o", prefix, "-p", str(gateway.pid)],
                                  stderr=subprocess.DEVNULL)
        time.sleep(1)
        look_up(gateway, calls(1, "s"), TRACED, *H1)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    counts = Counter()
    for trace in Path(folder).glob(prefix.name + ".*"):
        for line in trace.read_text().splitlines():
            name = line.split("(")[0]
            if name.isidentifier():
                counts[name] += 1
    return counts


def misses(program, upstream, folder):
    """Rounds of misses against two gateways, one with and one without the level."""
    number = [0]
    gateways = {"off": Gateway(program, text(upstream), folder),
                "on": Gateway(program, text(upstream, Path(folder) / "misses"), folder)}

    def ask(name):
        number[0] += 1
        gateway, paths = gateways[name], calls(MISSES, f"m{number[0]}x")
        before = gateway.cpu(), gateway.cpu_of_threads("disk")
        rows = look_up(gateway, paths, MISSES, *H1)
        settle(gateway, name)
        spent = gateway.cpu() - before[0], gateway.cpu_of_threads("disk") - before[1]
        return percentile(times(rows), 0.5), *(seconds / MISSES * 1e6 for seconds in spent)

    try:
        for name in gateways:
            ask(name)
        results = in_turns(MISS_ROUNDS, {name: lambda name=name: ask(name) for name in gateways})
        dropped = gateways["on"].metric('level_writes_total{level="disk",result="dropped",tenant="a"}')
    finally:
        for gateway in gateways.values():
            gateway.__exit__()
    more = median(on[0] - off[0] for on, off in zip(results["on"], results["off"]))
    p50 = {name: median(row[0] for row in rows) for name, rows in results.items()}
    cpu = {name: median(row[1] for row in rows) for name, rows in results.items()}
    print(f"| p50 of a miss, on / off | {p50['on']:.0f} / {p50['off']:.0f} µs | {more:+.0f} µs |")
    disk = median(row[2] for row in results["on"])
    print(f"| CPU of a miss, on / off, what is written behind it included | {cpu['on']:.1f} / {cpu['off']:.1f} µs "
          f"| × {ratio(results, 'on', 'off', lambda row: row[1]):.2f} |")
    print(f"| of it the file's thread, which reads and writes | {disk:.1f} µs | |")
    print(f"| entries dropped by a full queue | {dropped:.0f} of {(MISS_ROUNDS + 1) * MISSES} | |", flush=True)


def settle(gateway, name):
    """Waits until all is written."""
    while name == "on" and gateway.metric('level_queue_bytes{level="disk"}') > 0:
        time.sleep(0.05)


def recalls(program, upstream, folder):
    """Lookups from disk after a restart, and from memory after that."""
    disk, paths = Path(folder) / "recalls", calls(RECALLS, "r")
    with Gateway(program, text(upstream, disk), folder) as gateway:
        look_up(gateway, paths, RECALLS, *H1)
        settle(gateway, "on")
    from_disk, from_memory = [], []
    for _ in range(RECALL_ROUNDS):
        with Gateway(program, text(upstream, disk), folder) as gateway:
            look_up(gateway, calls(1, "r"), 1, *H1)
            from_disk.append(times(look_up(gateway, paths, RECALLS, *H1)))
            found = gateway.metric('level_requests_total{level="disk",result="hit",tenant="a"}')
            if found != RECALLS:
                sys.exit(f"{found:.0f} of {RECALLS} found on disk")
            from_memory.append(times(look_up(gateway, paths, RECALLS, *H1)))
    for share in (0.5, 0.99):
        disk_time, memory_time = (median(percentile(rows, share) for rows in rounds)
                                  for rounds in (from_disk, from_memory))
        print(f"| p{share * 100:.0f} of a hit, from disk / from memory | {disk_time} / {memory_time} µs "
              f"| {disk_time - memory_time:+.0f} µs |", flush=True)


def start(program, configured, folder):
    """Milliseconds from the process to its readiness."""
    path = Path(folder) / "start.toml"
    path.write_text(configured)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0bench-{os.getpid()}-{time.monotonic_ns()}")
        name = "@" + manager.getsockname()[1:].decode()
        begun = time.perf_counter()
        process = subprocess.Popen([program, "serve", "--config", path], stderr=subprocess.DEVNULL,
                                   env={**os.environ, "NOTIFY_SOCKET": name})
        while b"READY=1" not in manager.recv(4096):
            pass
        took = time.perf_counter() - begun
        # A file is closed before its next use.
        process.terminate()
        process.wait(10)
        return took * 1000


def starts(program, upstream, folder):
    disk = Path(folder) / "full"
    with Gateway(program, text(upstream, disk), folder) as gateway:
        number, size = 0, 0
        while size < 0.99 * FULL:
            number += 1
            look_up(gateway, calls(10_000, f"f{number}x"), 10_000, "-m", "16")
            settle(gateway, "on")
            size = gateway.metric('disk_bytes{tenant="a"}')
        entries = gateway.metric('disk_entries{tenant="a"}')
    size = sum(path.stat().st_size for path in disk.iterdir())
    results = in_turns(STARTS, {"off": lambda: start(program, text(upstream), folder),
                                "on": lambda: start(program, text(upstream, disk), folder)})
    off, on = median(results["off"]), median(results["on"])
    print(f"| start to ready, with {entries:.0f} calls in a file of {size / (1 << 20):.0f} MiB / without the level "
          f"| {on:.1f} / {off:.1f} ms | {on - off:+.1f} ms |", flush=True)


def memory(program, upstream, folder):
    """Of a process, before its first lookup and after it, with and without the level."""
    def measured(name):
        disk = Path(folder) / f"idle-{time.monotonic_ns()}" if name == "on" else None
        with Gateway(program, text(upstream, disk), folder) as gateway:
            before = gateway.memory(), gateway.memory_now("Pss_Anon")
            look_up(gateway, calls(1, "i"), 1, *H1)
            time.sleep(1)
            return *before, gateway.memory(), gateway.memory_now("Pss_Anon")

    results = in_turns(IDLE, {name: lambda name=name: measured(name) for name in ("off", "on")})
    for place, what in enumerate(("memory (PSS), idle", "of it its own", "after a miss", "of it its own")):
        off, on = (median(row[place] for row in results[name]) / (1 << 20) for name in ("off", "on"))
        print(f"| {what}, on / off | {on:.2f} / {off:.2f} MiB | {on - off:+.2f} MiB |", flush=True)


def main():
    program = program_of(sys.argv[1:], __doc__)
    need("h2load", "strace")
    print("| what | measured | difference |\n|---|---|---|")
    print(f"| size of the program | {program.stat().st_size / 1e6:.2f} MB | |")
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        # Of a file of its own, whose pages are not shared with the gateway's.
        stand_in, upstream = mock(shutil.copy(program, folder), folder)
        with stand_in:
            off, on = (system_calls(program, upstream, folder, disk) for disk in (None, Path(folder) / "traced"))
            for name, counts in (("off", off), ("on", on)):
                listed = ", ".join(f"{call} {count}" for call, count in sorted(counts.items()))
                print(f"| system calls of {TRACED} hits, {name} | {listed} | |", flush=True)
            memory(program, upstream, folder)
            recalls(program, upstream, folder)
            misses(program, upstream, folder)
            starts(program, upstream, folder)


if __name__ == "__main__":
    main()
