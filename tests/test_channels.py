"""Channels, routes, rules and replies, as arguments and in ``harken.toml``."""

from __future__ import annotations

from pathlib import Path

import pytest

import harken
from channels import Recorder, connect_without_relay
from harken import ConfigurationError, Notification, Notifier, RouteRejected

FILE = """
[channels.quiet]
kind = "log"

[channels.loud]
kind = "log"
comments = true

[[routes]]
name = "downs"
channel = "loud"
ratings = ["down"]

[[alerts]]
name = "two"
kind = "streak"
length = 2

[[replies]]
tag = "slow"
text = "Sorry, {session_id}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_tables_of_the_file(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Channels, routes, alert rules and replies are read from the tables of harken.toml."""
    (folder / "harken.toml").write_text(FILE)
    with harken.connect("memory://") as hk, caplog.at_level("INFO", "harken.notifications"):
        assert hk.channels.names == ("quiet", "loud")
        assert [route.name for route in hk.routes.routes()] == ["downs"]
        receipts = [hk.submit("s", "down", "Too slow", tags=["slow"]) for _ in range(2)]
        hk.submit("s", "up", "Fine")
        assert [receipt.reply for receipt in receipts] == ["Sorry, s"] * 2
        # Two thumbs-downs, the alert about them, which no route takes, and nothing of the thumbs-up.
        assert hk.relay.run_due() == 2
        assert [alert.rule for alert in hk.alerts.find("default")] == ["two"]


def test_arguments_replace_the_tables(folder: Path) -> None:
    """An argument replaces the table of the file."""
    (folder / "harken.toml").write_text(FILE)
    channel = Recorder()
    with harken.connect("memory://", channels={"mine": channel}, routes=[], replies=[]) as hk:
        assert hk.submit("s", "down", "Too slow", tags=["slow"]).reply is None
        hk.relay.run_due()
    assert channel.comments == ["Too slow"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("channels = 1", "channels must be tables, such as [channels.support]"),
        ("[channels]\nops = 1", "channels must be tables, such as [channels.support]"),
        ("[channels.ops]\nurl = 'x'", "Channel 'ops' has no kind; add"),
        ("[channels.'a b']\nkind = 'log'", "A channel's name must have 1 to 64 letters"),
        ("[routes]\nname = 'r'", "routes must be a list of tables, each [[routes]]"),
        ("[[routes]]\nname = 'r'\nchannel = 'oops'", "Unknown channel 'oops'; expected log"),
        ("[[alerts]]\nname = 'r'\nkind = 'mood'", "Alert rule 'r': unknown kind 'mood'"),
        ("[[replies]]\ntext = '{comment}'", "Unknown placeholder '{comment}'"),
    ],
)
def test_invalid_tables(folder: Path, content: str, message: str) -> None:
    """An error in a table is found by connect, and described in a sentence."""
    (folder / "harken.toml").write_text(content)
    with pytest.raises((ConfigurationError, RouteRejected)) as caught:
        harken.connect("memory://")
    assert message in str(caught.value)


def test_secrets_are_read_when_a_relay_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets come from the environment, and only a relay needs them, not a program that reads statistics."""
    table = {"kind": "webhook", "url": "https://example.com", "secret": "env:A_SECRET_FOR_A_TEST"}
    with connect_without_relay(channels={"ops": table}) as hk:
        assert hk.summary().total == 0
        with pytest.raises(ConfigurationError) as caught:
            hk.start_relay()
        assert str(caught.value) == "Channel 'ops': the environment variable A_SECRET_FOR_A_TEST is not set"


def test_an_unknown_kind() -> None:
    """An unknown kind is an error that lists the known ones."""
    with connect_without_relay(channels={"ops": {"kind": "pigeon"}}) as hk, pytest.raises(ConfigurationError) as caught:
        hk.start_relay()
    known = "apigateway, apprise, langfuse, log, mlflow, otlp, phoenix, sns, sqs, webhook"
    assert str(caught.value) == f"Channel 'ops': Unknown kind 'pigeon'; expected one of {known}"


class Closing(Notifier):
    """Records whether it was closed."""

    closed = False

    def deliver(self, notification: Notification) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_a_notifier_that_was_passed_is_not_closed() -> None:
    """Harken closes only what it opened."""
    mine = Closing()
    with connect_without_relay(channels={"mine": mine}) as hk:
        hk.start_relay()
    assert not mine.closed
