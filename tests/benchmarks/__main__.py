"""``make bench``: how fast Harken is, as ratios against the bare driver in the same run.

Prints one line for each figure and ends with status 1 if one misses its bound. Names of benchmarks as arguments run
only these.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import agents, embedded, http, mongodb, relay, text

BENCHMARKS = (
    *embedded.BENCHMARKS,
    *mongodb.BENCHMARKS,
    *http.BENCHMARKS,
    *relay.BENCHMARKS,
    *agents.BENCHMARKS,
    *text.BENCHMARKS,
)


def main(chosen: list[str]) -> int:
    """Run the benchmarks that are named, or all."""
    kept = True
    # Beside the project, not in /tmp: that may be in memory, where nothing is ever synced.
    with TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        for benchmark in BENCHMARKS:
            if chosen and benchmark.__name__ not in chosen:
                continue
            for result in benchmark(Path(folder)):
                print(result, flush=True)
                kept = kept and result.kept
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
