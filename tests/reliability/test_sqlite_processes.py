"""Processes that share an SQLite file, and processes that are killed while they write."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.reliability.sqlite_processes import play

import harken

pytestmark = pytest.mark.slow

SUBMIT = """
import sys, time, harken
url, name, count = sys.argv[1:]
with harken.connect(url) as hk:
    print("ready", flush=True)
    sys.stdin.readline()
    longest = 0.0
    for number in range(int(count)):
        start = time.perf_counter()
        receipt = hk.submit(f"{name}-{number % 10}", "down", f"comment of {name}", idempotency_key=f"{name}-{number}")
        longest = max(longest, time.perf_counter() - start)
        print(receipt.feedback.id, flush=True)
print(longest)
"""


def start(url: str, name: str, count: int) -> subprocess.Popen[str]:
    """Start a process that submits when it receives a line, and prints each acknowledged id."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUBMIT, url, name, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_concurrent_processes_lose_nothing(tmp_path: Path) -> None:
    """Three processes submit to one file: all acknowledged feedback is stored once, and no call takes long."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    processes = [start(url, f"process-{number}", 150) for number in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    acknowledged: list[str] = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        *ids, longest = output.split()
        acknowledged += ids
        # Far above the usual duration, and far below the timeout of a write.
        assert float(longest) < 10
    with harken.connect(url) as hk:
        stored = [feedback.id for feedback in hk.export()]
        assert sorted(stored) == sorted(acknowledged)
        assert len(stored) == 450
        assert hk.check() == []


def test_processes_that_start_together_share_the_new_file(tmp_path: Path) -> None:
    """The first process creates the file; the others wait, and none fails or creates it again."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    script = "import sys, harken\nwith harken.connect(sys.argv[1]) as hk: hk.submit('session', 'up')"
    processes = [subprocess.Popen([sys.executable, "-c", script, url]) for _ in range(6)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 6
    with harken.connect(url) as hk:
        assert hk.summary().total == 6


@pytest.mark.parametrize("acknowledged_first", [1, 20, 100])
def test_a_killed_process_loses_no_acknowledged_feedback(tmp_path: Path, acknowledged_first: int) -> None:
    """After ``kill -9`` during submissions, all acknowledged feedback is stored, and retries add the rest once."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    victim = start(url, "victim", 100_000)
    assert victim.stdin is not None
    assert victim.stdout is not None
    victim.stdin.write("go\n")
    victim.stdin.flush()
    acknowledged = [victim.stdout.readline().strip() for _ in range(acknowledged_first)]
    victim.kill()
    # The kill may have truncated the last line.
    acknowledged += [line.strip() for line in victim.stdout if len(line) == 37]
    victim.wait()
    victim.stdin.close()
    victim.stdout.close()
    with harken.connect(url) as hk:
        stored = {feedback.id for feedback in hk.export()}
        assert set(acknowledged) <= stored
        assert len(stored) - len(acknowledged) in (0, 1)
        assert hk.check() == []
        for number in range(len(stored) + 3):
            hk.submit(f"victim-{number % 10}", "down", "comment of victim", idempotency_key=f"victim-{number}")
        assert hk.summary().total == len(stored) + 3


def test_processes_that_fork_and_are_killed_lose_nothing(tmp_path: Path) -> None:
    """A short form of ``python -m tests.reliability.sqlite_processes``."""
    report = play(tmp_path, kills=3)
    assert report.ok, str(report)
    assert report.commands > 0
    assert report.acknowledged > 3 * 30
