"""``make bench``: measures the speed of Harken, as ratios to the bare driver in the same run.

Prints one line for each result, and exits with 1 if one exceeds its bound. Arguments are names of benchmarks; by
default all run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import agents, drop_in, embedded, exporting, http, insight, mongodb, relay, search, text

BENCHMARKS = (
    *embedded.BENCHMARKS,
    *exporting.BENCHMARKS,
    *mongodb.BENCHMARKS,
    *http.BENCHMARKS,
    *relay.BENCHMARKS,
    *agents.BENCHMARKS,
    *drop_in.BENCHMARKS,
    *text.BENCHMARKS,
    *insight.BENCHMARKS,
    *search.BENCHMARKS,
)


def main(chosen: list[str]) -> int:
    """Run the named benchmarks, or all; returns the exit code."""
    ok = True
    # In the current folder, because /tmp may be in memory, where nothing is synced.
    with TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        for benchmark in BENCHMARKS:
            if chosen and benchmark.__name__ not in chosen:
                continue
            for result in benchmark(Path(folder)):
                print(result, flush=True)
                ok = ok and result.ok
    return 0 if ok else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
