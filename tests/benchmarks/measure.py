"""Measurements of calls and commands. Two ways alternate, so that load on the machine affects both."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from attrs import frozen

#: Runs a command, and then prints its processor time in seconds and its peak resident memory in KiB. Not from
#: getrusage, which starts with the peak of the parent process.
_COMMAND = """
import re, time
from pathlib import Path
from harken_adapters.hosts.cli import main
code = main()
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(time.process_time(), peak)
raise SystemExit(code)
"""


@frozen
class Result:
    """A measured value, its bound, and how it was measured."""

    name: str
    value: float
    bound: float
    unit: str
    at_most: bool
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the value is within its bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        verdict = "ok  " if self.ok else "MISS"
        bound = f"bound {sign} {self.bound:g}{self.unit}"
        return f"{verdict} {self.name}: {self.value:.2f}{self.unit} ({bound}; {self.detail})"


def at_most(name: str, value: float, bound: float, *, unit: str = "x", detail: str) -> Result:
    """A value that should not be larger than its bound."""
    return Result(name, value, bound, unit, at_most=True, detail=detail)


def at_least(name: str, value: float, bound: float, *, unit: str = "x", detail: str) -> Result:
    """A value that should not be smaller than its bound."""
    return Result(name, value, bound, unit, at_most=False, detail=detail)


def seconds(call: Callable[[], object]) -> float:
    """The duration of a call, in seconds."""
    start = perf_counter()
    call()
    return perf_counter() - start


@frozen
class CommandRun:
    """The JSON report of a command, its processor time in seconds, and its peak memory in MB."""

    report: dict[str, Any]
    seconds: float
    peak: float


def command(storage: str, *arguments: str) -> CommandRun:
    """Run a ``harken`` command with ``--json`` in a process."""
    words = (sys.executable, "-c", _COMMAND, "--storage", storage, *arguments, "--json")
    output = subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    processor_time, peak = output.pop().split()
    return CommandRun(json.loads(b"\n".join(output)), float(processor_time), int(peak) / 1024)


def in_turn(ours: Callable[[], object], bare: Callable[[], object], *, rounds: int) -> tuple[float, float, float]:
    """The median seconds of both, and the median of their ratios by round, after a warm-up."""
    ours(), bare()
    pairs = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    return (
        median(mine for mine, _ in pairs),
        median(other for _, other in pairs),
        median(mine / other for mine, other in pairs),
    )
