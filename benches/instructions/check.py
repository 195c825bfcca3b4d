#!/usr/bin/env python3
"""Counts the instructions of a hit, an admission and a token's lookup, and holds them against baseline.json.

    apt-get install valgrind
    cargo install gungraun-runner@0.20.0
    benches/instructions/check.py              fails where a count rose by more than 5 %
    benches/instructions/check.py --update     writes the baseline anew; the commit says why

Counts are callgrind's, so the machine's load doesn't matter. Another compiler counts differently: update the
baseline together with the compiler.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
RESULTS = HERE / "target" / "gungraun"
ALLOWED_RISE = 0.05


def counted():
    """Instructions by bench."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    subprocess.run(["cargo", "bench", "--quiet", "--locked"], cwd=HERE, check=True)
    counts = {}
    for out in sorted(RESULTS.rglob("callgrind.*.out")):
        summary = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)
        counts[out.parent.name] = int(summary[1])
    if not counts:
        sys.exit(f"no counts below {RESULTS}")
    return counts


def main():
    counts = counted()
    if sys.argv[1:] == ["--update"]:
        BASELINE.write_text(json.dumps(counts, indent=2) + "\n")
        return
    if sys.argv[1:]:
        sys.exit(__doc__)
    baseline = json.loads(BASELINE.read_text())
    if counts.keys() != baseline.keys():
        sys.exit(f"counted: {', '.join(counts)}; in the baseline: {', '.join(baseline)}")
    risen = []
    for name, count in counts.items():
        change = count / baseline[name] - 1
        print(f"{name:32} {count:8} instructions, {change:+.1%}")
        if change > ALLOWED_RISE:
            risen.append(name)
    if risen:
        sys.exit(f"more than {ALLOWED_RISE:.0%} above the baseline: {', '.join(risen)}")


if __name__ == "__main__":
    main()
