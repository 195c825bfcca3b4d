#!/usr/bin/env python3
"""Fresh hits of one tenant beside another one whose upstream never ends its heads.

    cargo build --release
    benches/heads.py [PROGRAM]            default target/release/credira-gateway

The gateway has one core and one thread for all of it. In turns: the other tenant asks nothing; it asks, each client
again shortly after its answer, and the upstream answers as it should; it sends interim heads (103) without end; it
sends header fields without end. Needs h2load (nghttp2-client) and about two minutes.
"""

import socket
import sys
import tempfile
import threading
import time

from harness import TOKENS, Beside, Gateway, calls, configuration, in_turns, listener, look_up, median, need, percentile
from harness import program_of, ratio, times
from sizing import envelope

ROUNDS = 7
CLIENTS, PAUSE = 4, 0.005
HITS, CONNECTIONS, RATE = 6_000, 16, 100
# By what a call's ID says; each is sent again and again.
ENDLESS = {
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n" * 1_000,
    "fields": b"X-Field: of a head that does not end\r\n" * 1_600,
}


def upstream(_, server):
    while True:
        client, _ = server.accept()
        threading.Thread(target=answer, args=(client,), daemon=True).start()


def answer(client):
    unread = b""
    with client:
        try:
            while True:
                while b"\r\n\r\n" not in unread:
                    if not (data := client.recv(65536)):
                        return
                    unread += data
                head, unread = unread.split(b"\r\n\r\n", 1)
                call = head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
                for kind, block in ENDLESS.items():
                    if kind in call:
                        if kind == "fields":
                            client.sendall(b"HTTP/1.1 200 OK\r\n")
                        while True:
                            client.sendall(block)
                body = envelope(call, 1_270)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body))
        except OSError:
            return


def ask_all_the_time(count, address, kind):
    """Clients of the other tenant, each with one lookup in flight."""
    def client(number):
        for turn in range(1 << 30):
            with socket.create_connection(address) as asked:
                call = f"call_{kind}{time.monotonic_ns()}x{number}x{turn}"
                asked.sendall(f"GET /v1/calls/{call} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
                              f"Authorization: Bearer {TOKENS['b']}\r\n\r\n".encode())
                while asked.recv(65536):
                    pass
            with count.get_lock():
                count.value += 1
            time.sleep(PAUSE)

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    program = program_of(sys.argv[1:], __doc__)
    need("h2load")
    server, address = listener()
    # The other tenant's failures are not to end its requests.
    never = "[upstream.breaker]\nmin_requests = 1000000"
    with tempfile.TemporaryDirectory(prefix="heads-") as folder, Beside(upstream, server), \
            Gateway(program, configuration(address, never, tenants=("a", "b")), folder) as gateway:
        paths = calls(100, "h")
        look_up(gateway, paths, 100, "--h1")

        def hits():
            return times(look_up(gateway, paths, HITS, "--h1", "--rps", str(RATE), clients=CONNECTIONS))

        def beside(kind):
            with Beside(ask_all_the_time, gateway.place, kind) as asking:
                time.sleep(0.3)
                begun, before = time.monotonic(), asking.count.value
                rows = hits()
                return rows, (asking.count.value - before) / (time.monotonic() - begun)

        results = in_turns(ROUNDS, {
            "alone": lambda: (hits(), 0),
            "beside ordinary misses": lambda: beside("miss"),
            "beside interim heads without end": lambda: beside("interim"),
            "beside fields without end": lambda: beside("fields"),
        })
    print(f"{CONNECTIONS * RATE} hits a second\n")
    print("| hits | p50 | p99 | p99, × alone | the other tenant's lookups a second |\n|---|---|---|---|---|")
    for name, rounds in results.items():
        p50, p99 = (median(percentile(row[0], share) for row in rounds) for share in (0.5, 0.99))
        times_alone = ratio(results, name, "alone", lambda row: percentile(row[0], 0.99))
        asked = median(row[1] for row in rounds)
        print(f"| {name} | {p50:.0f} µs | {p99:.0f} µs | {times_alone:.2f} | {asked:.0f} |")


if __name__ == "__main__":
    main()
