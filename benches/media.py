#!/usr/bin/env python3
"""Recordings: how fast one flows beside nginx, what paused ones hold, and what slow ones do to lookups.

    cargo build --release
    benches/media.py [PROGRAM]            default target/release/credira-gateway

nginx stands before the same upstream with `proxy_pass` and `proxy_buffering off`, with its own buffer size and with the
gateway's. The upstream is another nginx that serves files from memory. Needs nginx, h2load (nghttp2-client), 512 MiB of
memory and about four minutes.
"""

import json
import os
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from harness import LOAD, SERVER, TOKENS, Beside, Gateway, Process, calls, configuration, in_turns, listener, look_up
from harness import median, need, percentile, program_of, ratio, times
from sizing import envelope

FLOWING, PAUSED, SLOW = 256 << 20, 100 << 20, 16
STREAM_ROUNDS, STREAMS = 7, 4
HITS, MISSES, CONNECTIONS, RATE, LOOKUP_ROUNDS = 6_000, 2_000, 16, 100, 7
SHARED = "daemon off; worker_processes 1; error_log stderr crit; events {{ worker_connections 1024; }}"
HTTP = ("access_log off; server_tokens off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;"
        "fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;")
FILES = SHARED + "pid {folder}/files.pid; http {{ " + HTTP + """
    sendfile on; open_file_cache max=1000;
    server {{ listen {address}; root {folder}; default_type application/json; types {{ audio/mpeg mp3; }}
        location /v1/calls/ {{ try_files $uri.json @any; }}
        location @any {{ if ($uri ~ ^/v1/calls/(.+)$) {{ set $call $1; }} return 200 '{any}'; }} }} }}"""
PROXY = SHARED + "pid {folder}/proxy{buffer}.pid; http {{ " + HTTP + """
    upstream files {{ server {upstream}; }}
    server {{ listen {address}; location / {{
        proxy_pass http://files; proxy_buffering off; {buffer_size}
        proxy_http_version 1.1; proxy_set_header Authorization "Bearer key-of-a"; }} }} }}"""
# By name: the number that tells their files apart, and how their buffers are configured.
PROXIES = [("nginx", 0, ""), ("nginx, proxy_buffer_size 32k", 32, "proxy_buffer_size 32k; proxy_buffers 8 32k;")]


def nginx(text, name, folder, core, **values):
    server, address = listener()
    server.close()
    path = Path(folder) / f"{name}.conf"
    path.write_text(text.format(folder=folder, address=address, **values))
    process = Process(["nginx", "-e", "stderr", "-p", folder, "-c", path], folder, core)
    for _ in range(500):
        try:
            socket.create_connection(place(address)).close()
            return process, address
        except OSError:
            time.sleep(0.01)
    sys.exit(process.log.read_text())


def place(address):
    host, port = address.split(":")
    return host, int(port)


def recording(folder, upstream, call, size):
    """A call with its recording at the upstream, of zeros that are in memory."""
    path = Path(folder) / "recordings" / f"{call}.mp3"
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    body = json.loads(envelope(call, 1_270))
    body["data"]["call_recording_url"] = f"http://{upstream}/recordings/{call}.mp3"
    (Path(folder) / "v1" / "calls" / f"{call}.json").write_text(json.dumps(body))


def asked(address, path, buffer=None):
    """A connection on which the answer's body comes next, and what of it has come already."""
    client = socket.socket()
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect(place(address))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKENS['a']}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1) or sys.exit("no head")
    if not head.startswith(b"HTTP/1.1 200 "):
        sys.exit(head.decode())
    return client


def flow(process, address, path):
    """Reads whole recordings, one after the other; gives bytes a second, and the server's seconds for a GiB."""
    before, begun = process.cpu(), time.monotonic()
    for _ in range(STREAMS):
        with asked(address, path) as client:
            left, room = FLOWING, bytearray(1 << 20)
            while left:
                # Counted and thrown away, which costs the reader nothing.
                count = client.recv_into(room, min(left, len(room)), socket.MSG_TRUNC)
                left -= count or sys.exit(f"{left} bytes are missing")
    took, size = time.monotonic() - begun, STREAMS * FLOWING
    return size / took, (process.cpu() - before) / size * (1 << 30)


def throughput(gateway, folder, upstream):
    recorded = {"gateway": (gateway, gateway.address, "/v1/calls/call_flowing/recording")}
    proxies = []
    try:
        for name, buffer, size in PROXIES:
            process, address = nginx(PROXY, f"proxy{buffer}", folder, SERVER, upstream=upstream, buffer=buffer,
                                     buffer_size=size)
            proxies.append(process)
            recorded[name] = (process, address, "/recordings/call_flowing.mp3")
        for server in recorded.values():
            flow(*server)
        results = in_turns(STREAM_ROUNDS, {name: lambda server=server: flow(*server)
                                           for name, server in recorded.items()})
    finally:
        for process in proxies:
            process.__exit__()
    print("| one stream | GiB a second | CPU of a GiB | throughput, × nginx | CPU, × nginx |\n|---|---|---|---|---|")
    for name, rounds in results.items():
        speed, cpu = (median(row[place] for row in rounds) for place in (0, 1))
        faster, dearer = (ratio(results, name, "nginx", lambda row: row[place]) for place in (0, 1))
        print(f"| {name} | {speed / (1 << 30):.2f} | {cpu:.3f} s | {faster:.2f} | {dearer:.2f} |", flush=True)
    print()


def paused_http1(gateway):
    return [asked(gateway.address, "/v1/calls/call_paused/recording") for _ in range(SLOW)]


def paused_http2(gateway, window):
    """A stream of its own connection each, with this window for both, of which the client never reads on."""
    clients = []
    for _ in range(SLOW):
        client = socket.create_connection(place(gateway.address))
        fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/v1/calls/call_paused/recording"),
                  (b":authority", b"gateway"), (b"authorization", b"Bearer " + TOKENS["a"].encode())]
        block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, window))
                       + frame(8, 0, 0, struct.pack(">I", max(1, window - 65_535))) + frame(1, 5, 1, block))
        # The head of the answer, after the settings.
        seen = b""
        while b"audio/mpeg" not in seen and b"\0\0\0\x01\x05" not in seen and len(seen) < 1024:
            seen += client.recv(256)
        clients.append(client)
    return clients


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def paused(start):
    print(f"| {SLOW} paused listeners of {PAUSED >> 20} MiB | memory more | each |\n|---|---|---|")
    for name, begin in (
            ("HTTP/1.1", paused_http1),
            ("HTTP/2, the window that clients begin with", lambda gateway: paused_http2(gateway, 65_535)),
            ("HTTP/2, the widest window", lambda gateway: paused_http2(gateway, (1 << 31) - 1))):
        # A process of its own, without memory that others have left behind.
        with start() as gateway:
            look_up(gateway, ["/v1/calls/call_paused"], 1, "--h1")
            before = gateway.memory()
            clients = begin(gateway)
            time.sleep(1)
            streams = gateway.metric('media_streams{tenant="a"}')
            if streams != SLOW:
                sys.exit(f"{name}: {streams:.0f} streams")
            more = gateway.memory() - before
            print(f"| {name} | {more / (1 << 20):.2f} MiB | {more / SLOW / 1024:.0f} KiB |", flush=True)
            for client in clients:
                client.close()
    print()


def ended(gateway):
    while gateway.metric('media_streams{tenant="a"}') > 0:
        time.sleep(0.05)


def read_slowly(count, address):
    """So many listeners, each with a few hundred kilobytes a second."""
    clients = [asked(address, "/v1/calls/call_paused/recording", buffer=64 << 10) for _ in range(SLOW)]
    while True:
        for client in clients:
            count.value += len(client.recv(16 << 10))
        time.sleep(0.05)


def lookups(gateway):
    paths, number = calls(100, "h"), [0]

    def asking(requests, rate, fresh):
        number[0] += 1
        listed = calls(requests, f"m{number[0]}x") if fresh else paths
        flags = ("-m", "4") if fresh else ("--h1",)
        clients = 1 if fresh else CONNECTIONS
        return times(look_up(gateway, listed, requests, *flags, "--rps", str(rate), clients=clients))

    def beside(ask):
        with Beside(read_slowly, gateway.address) as readers:
            while gateway.metric('media_streams{tenant="a"}') < SLOW:
                time.sleep(0.05)
            before = readers.count.value
            rows = ask()
            if readers.count.value == before:
                sys.exit("the streams do not flow")
        ended(gateway)
        return rows

    asking(100, RATE, False)
    print(f"| lookups beside {SLOW} slow streams | alone, p50 / p99 | beside them | p99, × alone |\n|---|---|---|---|")
    for name, ask in (("hits", lambda: asking(HITS, RATE, False)), ("misses", lambda: asking(MISSES, 500, True))):
        results = in_turns(LOOKUP_ROUNDS, {"alone": ask, "beside": lambda: beside(ask)})
        shown = {which: " / ".join(f"{median(percentile(row, share) for row in rounds):.0f}" for share in (0.5, 0.99))
                 for which, rounds in results.items()}
        print(f"| {name} | {shown['alone']} µs | {shown['beside']} µs "
              f"| {ratio(results, 'beside', 'alone', lambda row: percentile(row, 0.99)):.2f} |", flush=True)


def main():
    program = program_of(sys.argv[1:], __doc__)
    need("nginx", "h2load")
    with tempfile.TemporaryDirectory(prefix="media-", dir="/dev/shm") as folder:
        os.chmod(folder, 0o755)
        for name in ("recordings", "v1/calls"):
            (Path(folder) / name).mkdir(parents=True)
        files, upstream = nginx(FILES, "files", folder, LOAD, any=envelope("$call", 1_270).decode())
        with files:
            recording(folder, upstream, "call_flowing", FLOWING)
            recording(folder, upstream, "call_paused", PAUSED)
            more = "[media]\nmax_streams = 64"
            text = configuration(upstream, more, routes=("call", "recording"))
            paused(lambda: Gateway(program, text, folder))
            with Gateway(program, text, folder) as gateway:
                throughput(gateway, folder, upstream)
                lookups(gateway)


if __name__ == "__main__":
    main()
