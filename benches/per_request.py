#!/usr/bin/env python3
"""Measures the user instructions of one whole request per program: hits over HTTP/1.1, TLS and HTTP/2, and misses;
with the disk level, too.

    benches/per_request.py target/release/credira-gateway [ANOTHER-PROGRAM...]

Each program serves a short and a long series of requests on one persistent connection under callgrind. The cost of a
request is the difference of the counts over the difference in requests, which leaves out startup and connection setup.
The machine's load does not matter. The first program's mock-upstream answers the misses. Needs valgrind, h2load
(nghttp2-client) and openssl.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHORT, LONG = 500, 2500
TOKEN = "a-token-of-this-bench-0123456789abcdef"

# Name, scheme, flags of h2load, whether every request is for a different call, whether there is a disk level. What the
# level writes behind a miss counts, too.
SERIES = [
    ("hit, HTTP/1.1", "http", ["--h1"], False, False),
    ("hit, TLS", "https", ["--h1"], False, False),
    ("hit, HTTP/2", "http", [], False, False),
    ("hit, disk level", "http", ["--h1"], False, True),
    ("miss, stored", "http", ["--h1"], True, False),
    ("miss, disk level", "http", ["--h1"], True, True),
]


def wait_for(log, pattern, process):
    for _ in range(1200):
        found = re.search(pattern, log.read_text())
        if found:
            return found[1]
        if process.poll() is not None:
            sys.exit(log.read_text())
        time.sleep(0.1)
    sys.exit(f"nothing like {pattern} in {log}")


def instructions(program, series, requests, upstream, folder):
    """Counts the instructions that the program executes to serve so many requests."""
    _, scheme, flags, distinct, has_disk = series
    tls = f'tls = {{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}' if scheme == "https" else ""
    config, log, urls, out = (folder / name for name in ("gateway.toml", "log", "urls", "callgrind.out"))
    disk = f'[disk]\npath = "{folder}/disk-{time.monotonic_ns()}"\n' if has_disk else ""
    config.write_text(
        f'[listen]\naddress = "127.0.0.1:0"\n{tls}\n[admin]\naddress = ""\n'
        f'[upstream]\nbase_url = "http://{upstream}"\n[log]\naccess = "off"\n{disk}'
        f'[[tenants]]\nname = "a"\ntokens = [{{ value = "{TOKEN}" }}]\nupstream_key = {{ value = "key" }}\n'
    )
    with log.open("wb") as err:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, "serve"]
        process = subprocess.Popen([*command, "--config", config], stdout=err, stderr=err)
        try:
            address = wait_for(log, r'"plane":"data","address":"([^"]+)"', process)
            ids = range(requests) if distinct else [1]
            urls.write_text("".join(f"{scheme}://{address}/v1/calls/call_{n}\n" for n in ids))
            load = ["h2load", "-n", str(requests), "-c", "1", "-m", "1", "-H", f"Authorization: Bearer {TOKEN}"]
            done = subprocess.run([*load, *flags, "-i", urls], capture_output=True, text=True, check=True)
            if f"{requests} 2xx" not in done.stdout:
                sys.exit(done.stdout + done.stderr)
        finally:
            process.terminate()
            process.wait()
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])


def main():
    programs = sys.argv[1:]
    if not programs or programs[0].startswith("-"):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
        subprocess.run(["openssl", "req", "-x509", *key, *files], check=True, stderr=subprocess.DEVNULL)
        log = folder / "upstream"
        with log.open("wb") as out:
            mock = subprocess.Popen(
                [programs[0], "mock-upstream", "--listen", "127.0.0.1:0"], stdout=out, stderr=out
            )
        try:
            upstream = wait_for(log, r"(127\.0\.0\.1:\d+)", mock)
            for series in SERIES:
                for program in programs:
                    short, long = (instructions(program, series, n, upstream, folder) for n in (SHORT, LONG))
                    print(f"{series[0]:16} {(long - short) / (LONG - SHORT):10.0f}  {program}", flush=True)
        finally:
            mock.terminate()
            mock.wait()


if __name__ == "__main__":
    main()
