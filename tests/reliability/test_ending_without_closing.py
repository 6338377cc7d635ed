"""Programs that end without closing Harken: acknowledged feedback is stored, and no warnings are printed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import harken

pytestmark = pytest.mark.slow

#: Seconds; enough to load the libraries on a busy machine.
_PATIENCE = 120

_PLAIN = """
import sys
import harken

hk = harken.connect(sys.argv[1])
hk.submit("session-1", "up")
"""
#: Uses everything that runs in threads or stays open between calls.
_BUSY = """
import sys
import harken
from harken import Target

hk = harken.connect(sys.argv[1], channels={"log": {"kind": "log"}})
hk.start_relay(concurrency=2)
listener = hk.feed.listen("default", lambda: None)
for number in range(20):
    hk.submit("session-1", "up", str(number))
stream = hk.export()
next(stream)
last = hk.submit_soon("session-1", "up", "last")
hk.sessions.update("default", "session-1", {"topic": "orders"})
"""
_SESSION_MANAGER = """
import sys
from harken_adapters.hosts.session_manager import MongoDBSessionManager, initialize_global_factory

manager = MongoDBSessionManager("session-1", sys.argv[1])
manager.add_feedback({"rating": "up"})
factory = initialize_global_factory(sys.argv[1])
factory.create_session_manager("session-1").update_metadata({"topic": "orders"})
"""
_STRANDS = """
import sys
import harken
from local_model import LocalModel
from strands import Agent
from harken_adapters.hosts.strands import HarkenSessionManager

hk = harken.connect(sys.argv[1])
manager = HarkenSessionManager(hk, "session-1")
agent = Agent(model=LocalModel(["Hello"]), agent_id="helper", session_manager=manager, callback_handler=None)
agent("Hi")
manager.feedback.submit("up")
"""
_PROGRAMS = {"plain": _PLAIN, "busy": _BUSY, "session manager": _SESSION_MANAGER, "strands": _STRANDS}
_STORED = {"plain": 1, "busy": 21, "session manager": 1, "strands": 1}

_READY = 'print("ready", flush=True)\n'
_WAYS = {
    "the end": (_READY, 0),
    "sys.exit": (_READY + "sys.exit(3)", 3),
    "an exception": (_READY + 'raise ZeroDivisionError("of the program")', 1),
    "Ctrl-C": (_READY + "sys.stdin.read()", -signal.SIGINT),
}
#: All programs end in the first way; the one that uses everything ends in all ways.
_CASES = [*((program, "the end") for program in _PROGRAMS), *(("busy", way) for way in list(_WAYS)[1:])]


@pytest.mark.parametrize(("program", "way"), _CASES)
@pytest.mark.parametrize("storage", ["memory", "sqlite", "mongodb"])
def test_nothing_is_printed_and_nothing_is_lost(
    storage: str, program: str, way: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Standard error has at most the program's own exception, and all feedback is stored."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'feedback.db'}"}
    url = urls.get(storage) or request.getfixturevalue("mongodb_url")
    last_step, status = _WAYS[way]
    running = subprocess.Popen(
        [sys.executable, "-c", _PROGRAMS[program] + last_step, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    with running:
        assert running.stdout is not None
        printed = running.stdout.readline()
        if way == "Ctrl-C":
            running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=_PATIENCE)
    assert printed == "ready\n", errors
    assert running.returncode == status
    if way in ("the end", "sys.exit"):
        assert errors == ""
    else:
        # One traceback, of the program's own exception.
        assert errors.count("Traceback") == 1
        assert "Exception ignored" not in errors
        assert errors.splitlines()[-1] in ("ZeroDivisionError: of the program", "KeyboardInterrupt")
    if storage != "memory":
        with harken.connect(url) as hk:
            assert hk.summary().positive == _STORED[program]
