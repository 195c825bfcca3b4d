#!/usr/bin/env python3
"""A thousand lookups over HTTP/2 that wait for one call: requests upstream, memory, and how soon all have their answer.

    cargo build --release
    benches/waiting.py [PROGRAM]          default target/release/credira-gateway

Ten connections with a hundred requests each, `Prefer: wait=60`; the call becomes final after some seconds. The time
that counts is from the upstream's last answer to the end of the last client's. Needs h2load (nghttp2-client) and two
minutes.
"""

import multiprocessing
import sys
import tempfile
import threading
import time

from harness import Beside, Gateway, calls, configuration, listener, look_up, median, need, program_of
from sizing import envelope

WAITERS, CONNECTIONS = 1_000, 10
ROUNDS = 5
UNFINISHED = 12
POLL_MIN = 1.0
WAIT = f"[wait]\nmax = \"60s\"\nmax_waiting = {WAITERS}\npoll_min = \"{POLL_MIN:.0f}s\""


def upstream(_, server, is_final, fetches):
    """Notes when it answers for the call that is waited for. One thread: connections are few."""
    def answer(client):
        unread = b""
        with client:
            while True:
                while b"\r\n\r\n" not in unread:
                    if not (data := client.recv(65536)):
                        return
                    unread += data
                head, unread = unread.split(b"\r\n\r\n", 1)
                call = head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
                body = envelope(call, 1_270)
                if "waited" in call and not is_final.is_set():
                    body = body.replace(b'"completed"', b'"ringing"')
                if "waited" in call:
                    fetches.put(time.time())
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body))

    while True:
        client, _ = server.accept()
        threading.Thread(target=answer, args=(client,), daemon=True).start()


def drained(fetches):
    times = []
    while not fetches.empty():
        times.append(fetches.get())
    return times


def round_of(gateway, is_final, fetches):
    is_final.clear()
    look_up(gateway, calls(1, "w"), 1)
    drained(fetches)
    before, rows = gateway.memory(), []
    waiting = threading.Thread(target=lambda: rows.extend(look_up(
        gateway, ["/v1/calls/call_waited"], WAITERS, "-m", str(WAITERS // CONNECTIONS), clients=CONNECTIONS,
        fields=["prefer: wait=60"])))
    waiting.start()
    time.sleep(UNFINISHED / 2)
    waits, during = gateway.metric('waits{tenant="a"}'), gateway.memory_now()
    time.sleep(UNFINISHED / 2)
    is_final.set()
    waiting.join()
    time.sleep(0.2)
    polls = drained(fetches)
    if waits != WAITERS or len(rows) != WAITERS:
        sys.exit(f"{waits:.0f} of {WAITERS} waited, {len(rows)} were answered")
    ends = sorted((start + took) / 1e6 for start, _, took in rows)
    gap = min(after - before for before, after in zip(polls, polls[1:]))
    return {"polls": len(polls), "gap": gap, "first": (ends[0] - polls[-1]) * 1e3, "last": (ends[-1] - polls[-1]) * 1e3,
            "bytes": (during - before) / WAITERS}


def main():
    program = program_of(sys.argv[1:], __doc__)
    need("h2load")
    server, address = listener()
    is_final, fetches = multiprocessing.Event(), multiprocessing.Queue()
    with tempfile.TemporaryDirectory(prefix="waiting-") as folder, \
            Beside(upstream, server, is_final, fetches, niceness=0):
        rounds = []
        for _ in range(ROUNDS):
            # A process of its own, without memory that the last crowd has left behind.
            with Gateway(program, configuration(address, WAIT), folder) as gateway:
                rounds.append(round_of(gateway, is_final, fetches))
    print(f"| {WAITERS} waiters on one call, {UNFINISHED} s | median | worst round |\n|---|---|---|")
    for key, name, form, worst in (
            ("polls", "requests upstream, the first and the last included", "{:.0f}", max),
            ("gap", "shortest time between two of them", "{:.2f} s", min),
            ("first", "from the final answer to the first client's", "{:.1f} ms", max),
            ("last", "to the last one's", "{:.1f} ms", max),
            ("bytes", "memory of a waiter, its share of a connection included", "{:.0f} bytes", max)):
        values = [row[key] for row in rounds]
        print(f"| {name} | {form.format(median(values))} | {form.format(worst(values))} |")


if __name__ == "__main__":
    main()
