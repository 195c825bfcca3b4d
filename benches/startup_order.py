#!/usr/bin/env python3
"""Writes deploy/link/startup.ld anew: the functions that a gateway runs when it starts and answers.

    apt-get install valgrind binutils
    cargo build --profile profiling
    benches/startup_order.py

The linker puts these functions side by side (build.rs hands it the script). A kernel maps a program around
what is touched, in pieces of 64 KiB; where the functions that run are strewn among those that don't, nearly
the whole program becomes resident.

A build with names runs under callgrind, once from its start to its end with nothing to do, once with lookups of
every kind. First come the functions that only the idle program ran, then those of every hit, so that a hit's code lies
together, then the rest; patterns that also catch a lot that didn't run (a generic function's names differ in a hash
alone) stand after those that catch little. What the linker doesn't find it leaves: a list that is out of date costs
memory and little else.
"""

import collections
import http.client
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/profiling/credira-gateway"
SCRIPT = ROOT / "deploy/link/startup.ld"
TOKEN = "a-token-of-the-link-order-0123456789abcdef"
KEY = "a-key-of-the-link-order"
# Lookups of a stored call in the training: what runs as often belongs to a hit.
HITS = 50
# What callgrind's processor doesn't have, and others do: instructions for SHA-256.
UNSEEN = "x86_sha"
HEAD = """\
/* Made by benches/startup_order.py, which says why. */
SECTIONS {
  .text.startup_order : {
    *crt1.o(.text)
"""
TAIL = """\
  }
} INSERT BEFORE .text;
"""


def address(log, pattern):
    """The port that a program tells in its log."""
    for _ in range(600):
        if found := re.search(pattern, Path(log).read_text()):
            return int(found[1])
        time.sleep(0.1)
    sys.exit(f"nothing was started: {Path(log).read_text()}")


def start(folder, name, command):
    log = Path(folder) / name
    with open(log, "w") as out:
        return subprocess.Popen(command, stdout=out, stderr=out), log


def train(data, admin):
    """Asks once for all that a gateway answers in its ordinary life."""
    client = http.client.HTTPConnection("127.0.0.1", data)

    def ask(method, path, **fields):
        client.request(method, path, headers={"Authorization": f"Bearer {TOKEN}", **fields})
        answer = client.getresponse()
        answer.read()
        return answer

    for _ in range(1 + HITS):
        etag = ask("GET", "/v1/calls/call_1").headers["ETag"]
    assert ask("GET", "/v1/calls/call_1", **{"If-None-Match": etag}).status == 304
    ask("HEAD", "/v1/calls/call_1")
    ask("GET", "/v1/calls/call_1", **{"Cache-Control": "no-cache"})
    ask("GET", "/v1/calls/not%20one")
    for path in ("/metrics", "/readyz", "/livez"):
        client = http.client.HTTPConnection("127.0.0.1", admin)
        assert ask("GET", path).status == 200, path


def executed(flag, asked):
    """How often each function was called, by symbol, `asked` being what is asked of the gateway."""
    with tempfile.TemporaryDirectory() as folder:
        upstream, log = start(folder, "upstream", [PROGRAM, "mock-upstream", "--listen", "127.0.0.1:0", "--api-key", KEY])
        upstream_port = address(log, r"127\.0\.0\.1:(\d+)")
        configuration = Path(folder) / "gateway.toml"
        configuration.write_text(
            f'[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:0"\n'
            f'[upstream]\nbase_url = "http://127.0.0.1:{upstream_port}"\n'
            f'[[tenants]]\nname = "a"\ntokens = [{{ value = "{TOKEN}" }}]\nupstream_key = {{ value = "{KEY}" }}\n'
            'rate_limit = { per_second = 1000, burst = 1000 }\n')
        profile = Path(folder) / "profile"
        gateway, log = start(folder, "gateway", [
            "valgrind", "--quiet", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={profile}",
            PROGRAM, "serve", flag, configuration])
        try:
            planes = [address(log, rf'"plane":"{plane}","address":"[^"]*:(\d+)"') for plane in ("data", "admin")]
            asked(*planes)
        finally:
            gateway.terminate()
            gateway.wait(60)
            upstream.terminate()
            upstream.wait(60)
        text = profile.read_text(errors="replace")
    names, calls, callee = {}, collections.Counter(), None
    for line in text.splitlines():
        if function := re.match(r"c?fn=\((\d+)\)(?: (\S+))?", line):
            number, name = function.groups()
            # Recursive calls have a name of their own, and a name is written out once.
            callee = names.setdefault(number, re.sub(r"'\d+$", "", name or ""))
            calls[callee] += 0
        elif line.startswith("calls="):
            calls[callee] += int(line[len("calls="):].split()[0])
    return calls


def pattern(symbol):
    """The symbol without what changes with the compiler and the crates' versions."""
    symbol = re.sub(r"17h[0-9a-f]{16}E.*", "17h*", symbol)
    return re.sub(r"Cs[0-9A-Za-z]{5,12}_", "Cs*_", symbol) if symbol.startswith("_R") else symbol


class Catch:
    """What a pattern catches, in bytes."""

    def __init__(self):
        self.all = self.idle = self.trained = self.hit = 0

    def rank(self):
        """What runs when idle first, then what runs in every hit; in each, what catches least in vain."""
        ran = self.idle or self.trained
        vain = self.all - ran if self.all > 2 * ran else 0
        if self.hit and not vain:
            return 1, 0
        return (0 if self.idle else 2), vain


def main():
    lines = subprocess.run(["nm", "--print-size", "--defined-only", PROGRAM], check=True, capture_output=True, text=True)
    idle, trained = executed("-c", lambda *_: None), executed("--config", train)
    hit = {symbol for symbol, calls in trained.items() if calls - idle[symbol] >= HITS}
    catches = collections.defaultdict(Catch)
    for line in lines.stdout.splitlines():
        match line.split():
            case [_, size, kind, symbol] if kind in "tTwW":
                catch, size = catches[pattern(symbol)], int(size, 16)
                catch.all += size
                catch.idle += size * (symbol in idle or UNSEEN in symbol)
                catch.trained += size * (symbol in trained)
                catch.hit += size * (symbol in hit)
    caught = [(catch.rank(), name) for name, catch in catches.items() if catch.idle or catch.trained]
    if len(caught) < 500:
        sys.exit(f"only {len(caught)} functions were seen")
    SCRIPT.write_text(HEAD + "".join(f"    *(.text*.{name})\n" for _, name in sorted(caught)) + TAIL)
    of_hits = sum(group == 1 for (group, _), _ in caught)
    print(f"{len(caught)} patterns, of which {of_hits} run in every hit")


if __name__ == "__main__":
    main()
