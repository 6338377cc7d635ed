"""Processes that fork while an SQLite file is open: neither parent nor child loses acknowledged feedback."""

import subprocess
import sys
from pathlib import Path

import pytest

import harken

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="only where processes fork"),
]

#: The beginning of the programs below. ``wait`` and ``go`` order parent and child, ``visit`` runs another process.
BEGIN = """
import ctypes, os, signal, subprocess, sys, harken

url = sys.argv[1]
reading, writing = os.pipe()
back_reading, back_writing = os.pipe()

def tell(to_child=True):
    os.write(writing if to_child else back_writing, b"x")

def wait(for_parent=True):
    os.read(reading if for_parent else back_reading, 1)

def visit():
    code = "import harken, sys; h = harken.connect(sys.argv[1]); h.submit('visitor', 'up'); h.close()"
    subprocess.run([sys.executable, "-c", code, url], check=True)

def submit(hk, count):
    for _ in range(count):
        hk.submit("session", "up")
"""


def run(tmp_path: Path, program: str) -> tuple[str, int]:
    """Return what a program prints, and how much feedback is stored in an undamaged file afterwards."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", BEGIN + program, url]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    with harken.connect(url) as hk:
        assert hk.check() == []
        return done.stdout, hk.summary().total


@pytest.mark.parametrize("end", ["parent.close()", "os.kill(os.getpid(), 9)", "os._exit(0)", "pass"])
def test_a_child_that_connects_keeps_acknowledged_feedback(tmp_path: Path, end: str) -> None:
    """This holds if the parent closes, exits or is killed, other processes connect, and the child is killed."""
    program = f"""
parent = harken.connect(url)
submit(parent, 1)
keeper = os.fork()
if keeper == 0:
    if os.fork() == 0:
        own = harken.connect(url)
        submit(own, 20)
        tell(to_child=False)
        wait()
        submit(own, 20)
        visit()
        submit(own, 20)
        tell(to_child=False)
        os.kill(os.getpid(), 9)
    wait(for_parent=False)
    if os.fork() == 0:
        {end}
        os._exit(0)
    os.wait()
    {end.replace("os.kill(os.getpid(), 9)", "pass").replace("os._exit(0)", "pass")}
    tell()
    wait(for_parent=False)
    os._exit(0)
os.waitpid(keeper, 0)
"""
    assert run(tmp_path, program)[1] == 62


def test_a_parent_continues_after_a_fork(tmp_path: Path) -> None:
    """Children that use the parent's connection or their own do not affect the parent."""
    program = """
parent, again = harken.connect(url), harken.connect(url)
for number in range(4):
    submit(parent, 5)
    submit(again, 5)
    child = os.fork()
    if child == 0:
        if number % 2:
            with harken.connect(url) as own:
                submit(own, 5)
        parent.close()
        os._exit(0)
    submit(parent, 5)
    visit()
    os.waitpid(child, 0)
    submit(again, 5)
os._exit(0)
"""
    assert run(tmp_path, program)[1] == 4 * 21 + 2 * 5


def test_children_of_children(tmp_path: Path) -> None:
    """Every generation that connects keeps its acknowledged feedback, in any order of exits."""
    program = """
with harken.connect(url) as parent:
    submit(parent, 5)
    for generation in range(3):
        if os.fork():
            os.wait()
            break
        own = harken.connect(url)
        submit(own, 5)
    visit()
os._exit(0)
"""
    assert run(tmp_path, program)[1] == 5 + 3 * 5 + 4


FORKS = {
    # A signal handler that forks while this thread is in the middle of a transaction.
    "in a transaction": """
import harken_adapters.storage.sqlite.feedback as module
plain = module._add

def add(connection, item):
    outcome = plain(connection, item)
    global forked
    forked = os.fork()
    return outcome

module._add = add
hk.submit("session", "up")
module._add = plain
""",
    # A fork by a program written in C, which does not run Python's hooks.
    "without hooks": "forked = ctypes.CDLL(None).fork()\n",
}


@pytest.mark.parametrize("fork", FORKS)
def test_a_child_that_could_lose_data_may_not_connect(tmp_path: Path, fork: str) -> None:
    """If a connection could not be closed before the fork, the child gets an error, and the parent continues."""
    program = f"""
hk = harken.connect(url)
submit(hk, 5)
{FORKS[fork]}
if forked == 0:
    try:
        harken.connect(url)
    except harken.StorageUnavailable as error:
        os._exit(7 if "forked" in str(error) else 8)
    os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]))
submit(hk, 5)
visit()
submit(hk, 5)
"""
    printed, total = run(tmp_path, program)
    assert (printed, total) == ("7\n", 16 + (fork == "in a transaction"))


def test_such_a_child_ends_without_damage(tmp_path: Path) -> None:
    """A child that inherited an open connection does not use it, even when the interpreter exits."""
    program = f"""
hk = harken.connect(url)
submit(hk, 5)
{FORKS["without hooks"]}
if forked == 0:
    hk.close()
    sys.exit(0)
os.waitpid(forked, 0)
submit(hk, 5)
visit()
submit(hk, 5)
os.kill(os.getpid(), 9)
"""
    with pytest.raises(subprocess.CalledProcessError):
        run(tmp_path, program)
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        assert (hk.summary().total, hk.check()) == (16, [])


def test_a_fork_does_not_deadlock_with_waiting_threads(tmp_path: Path) -> None:
    """A fork succeeds although one thread reads within a write, and others write continuously."""
    program = """
import threading
from harken_adapters.storage.sqlite.database import Database
from pathlib import Path

hk = harken.connect(url)
database = Database(Path(url.removeprefix("sqlite:///")), busy_timeout=30)
ended = threading.Event()

def nested():
    while not ended.is_set():
        database.write(lambda connection: database.read(lambda other: other.execute("SELECT 1").fetchall()))
        database.read(lambda connection: database.write(lambda other: other.execute("SELECT 1").fetchall()))

threads = [threading.Thread(target=nested), threading.Thread(target=lambda: [submit(hk, 1) for _ in range(300)])]
for thread in threads:
    thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        with harken.connect(url) as own:
            submit(own, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
ended.set()
for thread in threads:
    thread.join()
"""
    assert run(tmp_path, program)[1] == 305


def test_a_fork_is_not_blocked_by_many_readers(tmp_path: Path) -> None:
    """While many threads read continuously, a forking thread finds a moment without readers."""
    program = """
import threading

hk = harken.connect(url)
submit(hk, 200)
ended = threading.Event()

def read():
    while not ended.is_set():
        hk.feedback(limit=100)

readers = [threading.Thread(target=read) for _ in range(16)]
for thread in readers:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
ended.set()
for thread in readers:
    thread.join()
"""
    assert run(tmp_path, program)[1] == 200


def test_threads_may_fork_at_the_same_time(tmp_path: Path) -> None:
    """Several threads that fork, while others submit and read, neither deadlock nor leave a lock held."""
    program = """
import threading

hk = harken.connect(url)
failed = []

def fork():
    for _ in range(20):
        child = os.fork()
        if child == 0:
            try:
                with harken.connect(url) as own:
                    submit(own, 1)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            failed.append(child)

def read():
    while forking:
        hk.summary()

forking = [threading.Thread(target=fork) for _ in range(3)]
others = [threading.Thread(target=lambda: submit(hk, 100)), *(threading.Thread(target=read) for _ in range(3))]
for thread in [*forking, *others]:
    thread.start()
while forking:
    forking.pop().join()
for thread in others:
    thread.join()
assert not failed
"""
    assert run(tmp_path, program)[1] == 160
