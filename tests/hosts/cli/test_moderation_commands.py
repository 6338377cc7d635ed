"""The commands of ``harken moderate`` for a team."""

from typing import Any

import pytest


@pytest.fixture
def held(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of three entries that are held for the same text, the oldest first."""
    monkeypatch.setenv("HARKEN_SPAM", "hold")
    text = "Claim your refund now: click here and claim it"
    submitted = [cli("submit", f"s{number}", "up", text, "--agent", "a", "--json").json for number in range(3)]
    return [one["feedback"]["id"] if "feedback" in one else one["id"] for one in submitted]


def test_the_queue_and_why(cli: Any, held: list[str]) -> None:
    """The queue is oldest first or newest first, and can be limited to what a rule held."""
    listed = cli("moderate", "queue", "--json").json["feedbacks"]
    assert [one["id"] for one in listed] == held
    newest = cli("moderate", "queue", "--order", "newest", "--limit", "1", "--held-by", "spam phrases", "--json").json
    assert [one["id"] for one in newest["feedbacks"]] == held[2:]
    assert "No pending feedback" in cli("moderate", "queue", "--held-by", "other").out
    assert "3 entries waiting" in cli("moderate", "waiting").out
    assert cli("moderate", "waiting", "--agent", "b", "--json").json["waiting"] == 0
    shown = cli("moderate", "review", held[0]).out
    assert "spam phrases: “click here”" in shown
    assert "from 3 sessions" in shown
    assert f"{held[2]}:1" in shown


def test_several(cli: Any, held: list[str]) -> None:
    """Each entry is decided on its own; the exit code says whether all were, and a repetition is not a conflict."""
    entries = [f"{one}:1" for one in held]
    preview = cli("moderate", "several", "approve", *entries, "--preview").out
    assert "3 of 3 entries can be decided" in preview
    assert cli("moderate", "approve", held[0], "--moderator", "priya").code == 0
    for _ in range(2):
        ran = cli("moderate", "several", "reject", *entries, "--moderator", "mo", "--reason", "spam")
        assert ran.code == 1
        assert "2 of 3 decided" in ran.out
        assert "decided by 'priya'" in ran.out
    decisions = cli("moderate", "decisions").out
    assert "3 decisions: 2 by mo, 1 by priya" in decisions
    assert cli("moderate", "decisions", "--decision", "rejected", "--json").json["decisions"] == 2
    assert cli("moderate", "several", "undo", f"{held[1]}:2", "--moderator", "mo").code == 0
    for arguments, message in [
        (("approve", "x"), "'x' is not ID:VERSION"),
        (("approve", "x:1", "x:2"), "'x' is given twice"),
        (("delete", "x:1"), "Unknown decision 'delete'"),
        (("undo", "x:1", "--preview"), "--preview is for approve, reject and hold"),
    ]:
        ran = cli("moderate", "several", *arguments)
        assert ran.code != 0
        assert message in ran.err


def test_rules(cli: Any, held: list[str]) -> None:
    """What rules held, and what they refused in other processes."""
    assert held
    assert cli("submit", "s", "down").code != 0
    counts = cli("moderate", "rules", "--days", "1", "--json").json["rules"]
    assert [(one["rule"], one["refused"], one["held"]) for one in counts] == [
        ("spam phrases", 0, 3),
        ("reason when down", 1, 0),
    ]
    assert "spam phrases" in cli("moderate", "rules").out
