#!/usr/bin/env python3
"""Measures the gateway's memory: per stored call by body size, per connection, per tenant.

    cargo build --release
    benches/sizing.py [PROGRAM]           default target/release/credira-gateway

Memory is the difference in proportional set size of a fresh process, before and after, including the allocator's
overhead. Needs only Python and Linux, and about three minutes. docs/sizing.md has the resulting figures; they
depend on the program and the C library, and hardly on the machine.
"""

import asyncio
import hashlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BODIES = [(500, 100_000), (1_270, 100_000), (5_000, 40_000), (20_000, 10_000), (100_000, 2_000)]
CONNECTIONS = 2_000
TENANTS = 1_000


def token(number):
    return f"token-of-the-sizing-{number:06}-0123456789abcdef"


class Upstream(asyncio.Protocol):
    """Answers every lookup with a completed call, padded to the size in its ID."""

    def connection_made(self, transport):
        self.transport, self.unread = transport, b""

    def data_received(self, data):
        self.unread += data
        while b"\r\n\r\n" in self.unread:
            head, self.unread = self.unread.split(b"\r\n\r\n", 1)
            call = head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
            body = envelope(call, int(call[len("call_"):].split("x")[0]))
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                                 % (len(body), body))


def envelope(call, size):
    data = {"id": call, "status": "completed", "call_time": "2026-01-01T00:00:00Z",
            "end_time": "2026-01-01T00:01:00Z", "updated_time": "2026-01-01T00:01:00Z", "summary": ""}
    value = {"success": True, "error": None, "data": data,
             "meta": {"request_id": "a-request", "timestamp": "2026-01-01T01:00:00Z"}}
    data["summary"] = "x" * (size - len(json.dumps(value)))
    return json.dumps(value).encode()


def serve_upstream():
    """Starts the upstream on a thread; returns its port."""
    started, port = threading.Event(), []

    async def run():
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        started.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    started.wait()
    return port[0]


class Gateway:
    """A gateway process, and the address it listens on."""

    def __init__(self, program, upstream, tenants=1, cache="1GiB"):
        self.folder = tempfile.TemporaryDirectory(prefix="sizing-")
        configuration = Path(self.folder.name) / "gateway.toml"
        configuration.write_text(
            f'[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = ""\n'
            f'[upstream]\nbase_url = "http://127.0.0.1:{upstream}"\n' + "".join(
                f'[[tenants]]\nname = "t{number}"\nupstream_key = {{ value = "key-{number}" }}\n'
                f'token_sha256 = ["{hashlib.sha256(token(number).encode()).hexdigest()}"]\n'
                'rate_limit = { per_second = 1000000, burst = 1000000 }\n'
                f'cache_max_bytes = "{cache}"\n' for number in range(tenants)))
        log = open(Path(self.folder.name) / "log", "w+")
        self.process = subprocess.Popen([program, "serve", "--config", configuration], stderr=log)
        self.port = None
        while self.port is None:
            if self.process.poll() is not None:
                raise SystemExit(Path(log.name).read_text())
            found = re.search(r'"plane":"data","address":"[^"]*:(\d+)"', Path(log.name).read_text())
            self.port = found and int(found[1])
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()

    def memory(self):
        """Returns the memory in bytes, once the process is idle."""
        read = lambda: int(re.search(r"^Pss: +(\d+)", Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(), re.M)[1])
        last, now = None, read()
        while last != now:
            time.sleep(0.7)
            last, now = now, read()
        return now * 1024

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


def ask(client, call, number=0):
    client.sendall(f"GET /v1/calls/{call} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token(number)}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += received(client)
    head, rest = answer.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(head.decode())
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(rest) < length:
        rest += received(client)


def received(client):
    data = client.recv(65536)
    if not data:
        raise SystemExit("the gateway hung up")
    return data


def per_entry(program, upstream, size, count):
    with Gateway(program, upstream) as gateway:
        client = gateway.connect()
        ask(client, f"call_{size}xwarm")
        before = gateway.memory()
        for number in range(count):
            ask(client, f"call_{size}x{number:08}")
        return (gateway.memory() - before) / count


def full(program, upstream):
    """Growth per byte of `cache_max_bytes`, after storing twice as much as fits."""
    room = 64 << 20
    with Gateway(program, upstream, cache=f"{room}B") as gateway:
        client = gateway.connect()
        ask(client, "call_1270xwarm")
        before = gateway.memory()
        for number in range(2 * room // 1_800):
            ask(client, f"call_1270x{number:08}")
        return (gateway.memory() - before) / room


def per_connection(program, upstream):
    with Gateway(program, upstream) as gateway:
        first = gateway.connect()
        ask(first, "call_1270xwarm")
        before = gateway.memory()
        clients = [gateway.connect() for _ in range(CONNECTIONS)]
        for client in clients:
            ask(client, "call_1270xwarm")
        return (gateway.memory() - before) / CONNECTIONS


def per_tenant(program, upstream):
    with Gateway(program, upstream) as gateway:
        ask(gateway.connect(), "call_1270xwarm")
        one = gateway.memory()
    with Gateway(program, upstream, TENANTS + 1) as gateway:
        client = gateway.connect()
        ask(client, "call_1270xwarm")
        unused = gateway.memory()
        for number in range(1, TENANTS + 1):
            ask(client, "call_1270xwarm", number)
        return (unused - one) / TENANTS, (gateway.memory() - unused) / TENANTS


def main():
    program = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/credira-gateway").resolve()
    upstream = serve_upstream()
    print(f"the program: {program.stat().st_size / 1e6:.1f} MB")
    with Gateway(program, upstream) as gateway:
        print(f"idle, one tenant: {gateway.memory() / 1024:.0f} KiB")
    print("| bytes of the body | bytes of memory per stored call | above the body |")
    print("|---|---|---|")
    for size, count in BODIES:
        bytes_each = per_entry(program, upstream, size, count)
        print(f"| {size} | {bytes_each:.0f} | {bytes_each - size:.0f} |", flush=True)
    print(f"a full cache of 1270-byte bodies: {full(program, upstream):.2f} of cache_max_bytes")
    print(f"a connection that has asked and is kept: {per_connection(program, upstream):.0f} bytes")
    unused, used = per_tenant(program, upstream)
    print(f"a tenant: {unused:.0f} bytes, and {used:.0f} more once it has asked, with one call stored")


if __name__ == "__main__":
    main()
