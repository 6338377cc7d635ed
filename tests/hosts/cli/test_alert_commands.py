"""The commands alerts list, show and backtest."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import harken
from harken.configuration.storage_urls import open_storage

pytestmark = pytest.mark.slow

RULES = """
[[alerts]]
name = "three by agent"
kind = "streak"
by = "agent"
length = 3

[[alerts]]
name = "quiet"
kind = "silence"
"""


@pytest.fixture
def streak(cli: Any, tmp_path: Path) -> list[str]:
    """The ids of four thumbs-down in a row for the agent ``north``, in two sessions, which raise one alert."""
    (tmp_path / "harken.toml").write_text(RULES)
    with harken.connect("sqlite:///feedback.db") as hk:
        downs = [hk.submit(session, "down", "Late", agent_id="north").feedback.id for session in ("a", "b", "a", "b")]
        hk.submit("c", "up", agent_id="north")
        hk.submit("a", "down", "Late", agent_id="south")
        hk.relay.run_due()
    return downs


def test_alerts_are_listed(cli: Any, streak: list[str]) -> None:
    """Each alert is listed with its rule, times, state and message."""
    line, state, message = cli("alerts", "list").out.splitlines()
    (alert,) = cli("alerts", "list", "--json").json["alerts"]
    assert line.startswith(f"{alert['id']}  three by agent  raised 2")
    # The line has no room for it.
    assert state.startswith("    resolved 2")
    assert message == f"    {alert['message']}"
    assert alert["feedback_ids"] == streak[:3]
    assert cli("alerts", "list", "--open").out == "No open alerts\n"
    assert cli("alerts", "list", "--rule", "quiet").out == "No alerts\n"
    assert cli("--application", "shop", "alerts", "list", "--json").json == {"alerts": [], "next": None}


def test_alerts_come_a_page_at_a_time(cli: Any) -> None:
    """Newest first; a page that is not the last has the cursor of the next one."""
    cli("channels", "off", "log")
    cli("channels", "on", "log")
    cli("channels", "off", "log", "--reason", "too loud")
    last, first = cli("alerts", "list", "--json").json["alerts"]
    assert "too loud" in last["message"]
    page = cli("alerts", "list", "--limit", "1", "--json").json
    assert page == {"alerts": [last], "next": last["id"]}
    assert f"--after {last['id']}" in cli("alerts", "list", "--limit", "1").out
    rest = cli("alerts", "list", "--limit", "1", "--after", last["id"], "--json").json
    assert rest == {"alerts": [first], "next": None}
    assert cli("alerts", "list", "--open", "--json").json["alerts"] == [last]


def test_an_alert_is_shown_in_full(cli: Any, streak: list[str]) -> None:
    """Including its counts and feedback ids; another application does not find it."""
    (alert,) = cli("alerts", "list", "--json").json["alerts"]
    assert cli("alerts", "show", alert["id"], "--json").json == alert
    shown = cli("alerts", "show", alert["id"]).out
    for fact in (alert["id"], "three by agent", "agent north", alert["message"], *streak[:3]):
        assert fact in shown
    other = cli("--application", "shop", "alerts", "show", alert["id"], "--json")
    assert (other.code, other.error["error"]) == (4, "AlertNotFound")


def test_a_backtest_finds_the_alerts_that_were_raised(cli: Any, streak: list[str]) -> None:
    """A backtest of the rules in the settings finds the alerts they raised, and stores nothing."""
    listed = cli("alerts", "list", "--json").json["alerts"]
    found = cli("alerts", "backtest", "--json").json["alerts"]
    assert [one["id"] for one in found] == [one["id"] for one in listed]
    assert [one["feedback_ids"] for one in found] == [streak[:3]]
    assert cli("alerts", "backtest").out == cli("alerts", "list").out
    assert cli("alerts", "backtest", "--agent", "south").out == "No alerts would have been raised\n"
    assert cli("alerts", "list", "--json").json["alerts"] == listed


def test_another_rule_can_be_backtested(cli: Any, streak: list[str]) -> None:
    """--length and --by describe the rule; the other values are the defaults of a rule."""
    by_session = cli("alerts", "backtest", "--length", "2", "--json").json["alerts"]
    assert [(one["rule"], one["subject"]) for one in by_session] == [
        ("backtest", {"by": "session", "value": "a"}),
        ("backtest", {"by": "session", "value": "b"}),
    ]
    (by_application,) = cli("alerts", "backtest", "--by", "application", "--json").json["alerts"]
    assert by_application["feedback_ids"] == streak[:3]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("backtest",), 2, "No streak rule is configured"),
        (("backtest", "--length", "0"), 2, "length"),
        (("backtest", "--by", "planet"), 2, "session, agent or application"),
        (("list", "--limit", "0"), 2, "limit"),
        (("list", "--rule", "\udcff"), 2, "--rule"),
        (("list", "--after", "nobody"), 4, "nobody"),
        (("show", "nobody"), 4, "nobody"),
    ],
)
@pytest.mark.usefixtures("empty_storage")
def test_invalid_arguments_of_alerts(cli: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    """The error names the problem, and its kind determines the exit code."""
    ran = cli("alerts", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


QUEUE = """
spam = "hold"

[[alerts]]
name = "moderation"
kind = "queue"
longer_than = 1
older_than = "1h"
"""


def test_the_moderation_queue(cli: Any, tmp_path: Path) -> None:
    """``doctor`` reports the queue, as a problem only if an alert rule says so; the alert is listed and shown."""
    settings = tmp_path / "harken.toml"
    settings.write_text('spam = "hold"\n')
    for _ in range(2):
        assert cli("submit", "s", "up", "Click here to win").code == 0
    assert cli("--application", "shop", "submit", "s", "up", "Click here to win").code == 0
    ran = cli("doctor", "--json")
    assert (ran.code, ran.json["problems"]) == (0, [])
    queues = ran.json["moderation"]
    assert {name: queue["waiting"] for name, queue in queues.items()} == {"default": 2, "shop": 1}
    assert list(cli("--application", "shop", "doctor", "--json").json["moderation"]) == ["shop"]
    assert "default: 2 waiting, oldest for " in cli("doctor").out
    settings.write_text(QUEUE)
    ran = cli("doctor", "--json")
    (problem,) = ran.json["problems"]
    assert ran.code == 1
    assert problem.startswith("2 entries await moderation for application default, the oldest for ")
    assert problem.endswith("s: more than 1 (alert rule moderation)")
    assert cli("--application", "shop", "doctor").code == 0
    assert cli("relay", "--once").code == 0
    (alert,) = cli("alerts", "list", "--open", "--json").json["alerts"]
    assert (alert["kind"], alert["figures"]["waiting"]) == ("queue", 2)
    shown = cli("alerts", "show", alert["id"]).out
    assert "queue" in shown
    assert "waiting       2" in shown
    wrong = QUEUE.replace("longer_than = 1", "longer_then = 1")
    settings.write_text(wrong)
    refused = cli("alerts", "list")
    assert refused.code != 0
    assert (
        "'moderation' of kind queue: unknown key 'longer_then' (did you mean 'longer_than'?); expected" in refused.err
    )


def test_an_alert_without_content(cli: Any, streak: list[str]) -> None:
    """An alert whose feedback was erased has no message and no ids, and can still be listed and shown."""
    with harken.connect("sqlite:///feedback.db") as hk:
        (alert,) = hk.alerts.find("default")
    with open_storage("sqlite:///feedback.db") as storage:
        emptied = evolve(alert, message="", figures={}, feedback_ids=(), version=alert.version + 1)
        assert storage.alerts.replace(emptied, emptied.event())
    assert alert.id in cli("alerts", "list").out
    assert alert.id in cli("alerts", "show", alert.id).out
    assert cli("alerts", "list", "--json").json["alerts"][0]["feedback_ids"] == []
