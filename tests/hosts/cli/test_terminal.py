"""User text cannot control a terminal: tests with a pseudo-terminal."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import DeliveryFailed
from harken.ports.notifier import Notification, Notifier
from harken_adapters.hosts.cli.output import escape_json

END = "\n--- end of a command ---\n"
#: Runs all commands in one process, as starting one is slow.
PROGRAM = f"""
import json, sys
from harken_adapters.hosts.cli import main
for command in json.loads(sys.argv[1]):
    main(command)
    sys.stderr.flush()
    print({END!r}, end="", flush=True)
"""
HARKEN = (sys.executable, "-c", "import sys; from harken_adapters.hosts.cli import main; sys.exit(main())")
#: Clears the screen, sets the title, rings the bell, deletes, and changes the reading direction.
EVIL = "Fine\x1b[2J\x1b]0;title\x07\x7f\x9b31m\u202etxt.exe\u2066\u200f\U000e0041 \N{PILE OF POO}é"
#: Without the characters that labels must not have.
EVIL_LABEL = "lab\u202eel\u2067\u200f\U000e0041"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0041]")


class Refusing(Notifier):
    """A channel whose errors contain control characters."""

    def deliver(self, notification: Notification) -> None:
        """Fail."""
        raise DeliveryFailed(f"The receiver said {EVIL}", retryable=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a storage with control characters in every text."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    rules = [{"name": "streak", "kind": "streak", "by": "agent", "length": 1}]
    routes = [{"name": "all", "channel": "team"}]
    channels = {"team": Refusing()}
    with harken.connect(url, alert_rules=rules, routes=routes, channels=channels, spam="allow") as hk:
        given = hk.submit("s", "down", EVIL, agent_id=EVIL_LABEL, author=EVIL_LABEL, tags=[EVIL_LABEL]).feedback
        hk.collection.change("default", given.id, harken.Change(comment=f"{EVIL} again"))
        hk.collection.reply("default", given.id, EVIL)
        hk.moderation.decide("default", given.id, "pending", moderator=EVIL_LABEL, reason=EVIL)
        hk.submit(EVIL_LABEL, "up", EVIL, tags=[EVIL_LABEL])
        hk.relay.run_due()
    return url


def on_a_terminal(*commands: Sequence[str], width: int = 200) -> list[str]:
    """The output of each command on a terminal without colours."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HARKEN_")}
    with (
        closing(os.fdopen(ours, "rb", buffering=0)) as terminal,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(commands)],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "TERM": "dumb", "COLUMNS": str(width)},
        ) as process,
    ):
        os.close(theirs)
        written = b"".join(iter(lambda: _read(terminal), b""))
    assert process.returncode == 0, written
    return written.decode().replace("\r\n", "\n").split(END)[:-1]


def _read(terminal: Any) -> bytes:
    try:
        return bytes(terminal.read(65_536))
    except OSError:
        # Linux raises this when the other side is closed.
        return b""


COMMANDS: list[tuple[str, ...]] = [
    ("export", "--all"),
    ("export", "--all", "--format", "csv"),
    ("export", "--all", "--format", "jsonl", "/dev/stdout"),
    ("list", "--status", "any"),
    ("list", "--status", "any", "--json"),
    ("list", "--status", "any", "--sentiment"),
    ("sentiment", "--status", "any"),
    ("moderate", "queue"),
    ("stats", "--by", "tag"),
    ("trends", "--by", "agent"),
    ("alerts", "list"),
    ("alerts", "list", "--json"),
    ("deliveries", "list", "--state", "dead"),
    ("deliveries", "list", "--state", "dead", "--json"),
    ("show", EVIL),
    ("show", EVIL, "--json"),
    ("list", "--tag", EVIL, f"--{EVIL}"),
    ("list", EVIL),
    ("list", EVIL, "--json"),
    ("list", "--since", EVIL),
    ("import", f"{EVIL}.csv"),
    ("copy", "--from", f"sqlite:///{EVIL}/x.db", "--to", "memory://"),
    ("doctor",),
]


@pytest.mark.slow
def test_control_characters_are_escaped(url: str) -> None:
    """Every command that prints user text, including errors, escapes control and bidirectional characters."""
    with harken.connect(url) as hk:
        (held,) = hk.moderation.queue(hk.query()).items
    commands = [*COMMANDS, ("show", held.id), ("show", held.id, "--json")]
    stored = ("--storage", url)
    written = on_a_terminal(*((*(() if words[0] == "copy" else stored), *words) for words in commands))
    assert [bool(text.strip()) for text in written] == [True] * len(commands)
    unescaped = {
        words: found for words, text in zip(commands, written, strict=True) if (found := _CONTROL.findall(text))
    }
    assert unescaped == {}
    assert all(text.lower().count("\\u202e") >= 8 for text in written[-2:])
    assert json.loads(written[-1])["comment"] == held.comment


@pytest.mark.slow
def test_an_export_to_a_file_or_pipe_is_exact(url: str, tmp_path: Path) -> None:
    """Files and pipes get the exact bytes; JSON Lines on a terminal have the same values."""
    for file_format in ("csv", "jsonl"):
        words = ("--storage", url, "export", "--all", "--format", file_format)
        piped = subprocess.run([*HARKEN, *words], capture_output=True, check=True).stdout
        subprocess.run([*HARKEN, *words, str(tmp_path / "file")], capture_output=True, check=True)
        assert (tmp_path / "file").read_bytes() == piped
        assert "\u202etxt.exe\u2066".encode() in piped
    (printed,) = on_a_terminal(words)
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    assert list(map(json.loads, lines)) == list(map(json.loads, piped.splitlines()))


@pytest.mark.parametrize("dump", [json.dumps, lambda text: json.dumps(text, ensure_ascii=False)])
def test_escaped_json_has_the_same_value(dump: Callable[[str], str]) -> None:
    """Escaping does not change the value, and leaves safe characters unescaped."""
    assert json.loads(escape_json(dump(EVIL))) == EVIL
    assert escape_json('{"é": "\N{PILE OF POO}"}\n') == '{"é": "\N{PILE OF POO}"}\n'


#: Commands that show the sample feedback of ``harken demo``.
SHOWING: list[tuple[str, ...]] = [
    ("list",),
    ("stats",),
    ("stats", "--by", "agent"),
    ("stats", "--by", "context.channel", "--sort", "satisfaction"),
    ("trends",),
    ("trends", "--by", "hour-of-day"),
    ("trends", "--heat-map"),
    ("trends", "--changes"),
    ("themes",),
    ("compare", "--by", "agent"),
    ("compare", "--before-agent", "travel-desk", "--after-agent", "trip-planner"),
    ("headline",),
    ("reasons",),
    ("ranking",),
    ("facets",),
    ("report",),
    ("sentiment",),
    ("applications",),
    ("moderate", "queue"),
    ("moderate", "decisions"),
    ("moderate", "rules"),
    ("moderate", "waiting"),
    ("moderate", "evaluate"),
    ("alerts", "backtest", "--length", "2", "--by", "agent"),
    ("deliveries", "list"),
    ("deliveries", "summary"),
    ("channels", "list"),
    ("routes", "list"),
    ("keys", "list"),
    ("doctor",),
    ("rebuild",),
]


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_screens_fit(tmp_path: Path, width: int) -> None:
    """No line is wider than the terminal, except cursors and commands to paste, and none ends with blanks."""
    url = f"sqlite:///{tmp_path}/demo.db"
    stored = ("--storage", url)
    demo, *screens = on_a_terminal(
        (*stored, "demo"),
        (*stored, "keys", "create", "--scope", "admin", "--name", "a long name of a key for the dashboard of the team"),
        *((*stored, *words) for words in SHOWING),
        width=width,
    )
    wide = re.compile("More results: add --after|  harken --storage|hk_|storage  ")
    for words, screen in zip([("demo",), ("keys", "create"), *SHOWING], [demo, *screens], strict=True):
        assert screen.strip(), words
        lines = [line for line in screen.splitlines() if not wide.match(line)]
        assert [line for line in lines if len(line) > width or line != line.rstrip()] == [], words
