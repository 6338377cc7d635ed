"""The command export --pairs: rated answers with their prompts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Harken

URL = "sqlite:///feedback.db"


@pytest.fixture
def hk(cli: Any) -> Iterator[Harken]:
    """A Harken on the file that the command line uses."""
    assert cli
    with harken.connect(URL) as hk:
        yield hk


def said(role: str, *texts: str, tracking_id: str | None = None, **more: Any) -> dict[str, Any]:
    """A message as Strands stores it."""
    message = {"role": role, "content": [{"text": text} for text in texts]}
    return {"message": message | ({"tracking_id": tracking_id} if tracking_id else {}), "message_id": 0, **more}


def store(hk: Harken, session_id: str, agent_id: str, *messages: dict[str, Any]) -> None:
    """Store a conversation."""
    for number, message in enumerate(messages):
        hk.conversations.append("default", session_id, agent_id, number, message)


def lines(path: str) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in Path(path).read_bytes().split(b"\n") if line]


def test_each_rated_answer_has_its_prompt(cli: Any, hk: Harken) -> None:
    """The prompt is what the user said before the answer; calls of tools in between are skipped."""
    call, result = {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}, {"toolResult": {"toolUseId": "1"}}
    store(
        hk,
        "s",
        "helper",
        said("user", "Hello"),
        said("assistant", "Hi", tracking_id="m-1"),
        said("user", "Where is", "my order?"),
        {"message": {"role": "assistant", "content": [call], "tracking_id": "m-2"}},
        {"message": {"role": "user", "content": [result, {"text": "raw"}]}},
        said("assistant", "In Łódź\u2028", tracking_id="m-3"),
    )
    hk.submit("s", "down", "In the wrong city", message_id="m-3", agent_id="helper", tags=["wrong"])
    hk.submit("s", None, message_id="m-1")
    ran = cli("export", "--pairs", "pairs.jsonl")
    assert (ran.code, ran.out) == (0, "2 pairs exported to pairs.jsonl\n")
    assert lines("pairs.jsonl") == [
        {
            "prompt": "Where is\nmy order?",
            "answer": "In Łódź\u2028",
            "rating": "down",
            "comment": "In the wrong city",
            "tags": ["wrong"],
        },
        {"prompt": "Hello", "answer": "Hi", "rating": None, "comment": "", "tags": []},
    ]


def test_other_programs_may_store_plain_messages(cli: Any, hk: Harken) -> None:
    """An id, a role, and a content that is a text or a list of blocks."""
    blocks = [{"type": "text", "text": "A quarter"}, {"type": "image", "image": 1}, "odd", None]
    store(
        hk,
        "s",
        "helper",
        {"role": "user", "content": "What is .25?"},
        {"role": "assistant", "content": blocks, "id": "a"},
        {"role": "system", "content": 3},
        {},
    )
    hk.submit("s", "up", message_id="a")
    cli("export", "--pairs", "pairs.jsonl")
    assert [(one["prompt"], one["answer"]) for one in lines("pairs.jsonl")] == [("What is .25?", "A quarter")]


def test_odd_messages_are_exported(cli: Any, hk: Harken) -> None:
    """A type may be any JSON value, and a text may have half a surrogate pair."""
    store(
        hk,
        "s",
        "helper",
        {"id": "q", "role": "user", "content": [{"type": ["text"], "text": "Why \ud83d?"}]},
        {"id": "a", "role": "assistant", "content": [{"type": {"kind": 1}, "text": "Because"}]},
    )
    hk.submit("s", "up", message_id="a", agent_id="helper")
    cli("export", "--pairs", "pairs.jsonl")
    (line,) = lines("pairs.jsonl")
    assert (line["prompt"], line["answer"]) == ("Why \ud83d?", "Because")


def test_a_redacted_message_stays_redacted(cli: Any, hk: Harken) -> None:
    """What a guardrail replaced is not exported."""
    redacted = {"role": "user", "content": [{"text": "[redacted]"}]}
    store(
        hk,
        "s",
        "helper",
        said("user", "My card is 4242", redact_message=redacted),
        said("assistant", "Thanks", tracking_id="a", redact_message=None),
    )
    hk.submit("s", "up", message_id="a")
    cli("export", "--pairs", "pairs.jsonl")
    assert [one["prompt"] for one in lines("pairs.jsonl")] == ["[redacted]"]


def test_what_is_left_out_is_counted(cli: Any, hk: Harken) -> None:
    """By reason; nothing is dropped silently."""
    image = {"role": "assistant", "content": [{"image": {}}], "tracking_id": "picture"}
    store(
        hk,
        "s",
        "helper",
        said("assistant", "Welcome", tracking_id="first"),
        said("user", "Draw", tracking_id="question"),
        {"message": image},
    )
    store(hk, "other", "helper", said("user", "Hello"), said("assistant", "Hi", tracking_id="elsewhere"))
    hk.submit("s", "up")
    for message_id in ("elsewhere", "unknown", "first", "question", "picture"):
        hk.submit("s", "up", message_id=message_id)
    shown = cli("export", "--pairs", "pairs.jsonl").out.splitlines()
    assert shown[0] == "0 pairs exported to pairs.jsonl"
    assert [line.split()[:3] for line in shown[1:]] == [
        ["Left", "out:", "1"],
        ["Left", "out:", "2"],
        ["Left", "out:", "3"],
    ]
    assert cli("export", "--pairs", "pairs.jsonl", "--json").json == {
        "exported": 0,
        "left_out": {"no_message": 1, "not_found": 2, "no_text": 3},
        "file": "pairs.jsonl",
    }
    assert lines("pairs.jsonl") == []


def test_the_conversation_of_the_rated_agent_comes_first(cli: Any, hk: Harken) -> None:
    """Agents may use the same ids; any agent of the session is searched."""
    for agent_id in ("a", "b", "c"):
        store(hk, "s", agent_id, said("user", f"To {agent_id}"), said("assistant", "Yes", tracking_id="1"))
    hk.submit("s", "up", message_id="1", agent_id="b")
    hk.submit("s", "up", message_id="1", agent_id="unknown")
    cli("export", "--pairs", "pairs.jsonl")
    assert [one["prompt"] for one in lines("pairs.jsonl")] == ["To b", "To a"]


def test_filters_select_the_pairs(cli: Any, hk: Harken) -> None:
    """As for any export; withdrawn feedback is exported with --all only."""
    store(hk, "s", "a", said("user", "Hello"), said("assistant", "Hi", tracking_id="1"))
    hk.submit("s", "up", message_id="1")
    hk.collection.withdraw("default", hk.submit("s", "down", "no", message_id="1").feedback.id)
    for options, expected in (((), 1), (("--all",), 2), (("--rating", "down"), 0)):
        assert cli("export", "--pairs", "pairs.jsonl", *options, "--json").json["exported"] == expected


def test_pairs_on_stdout(cli: Any, hk: Harken) -> None:
    """Stdout has the lines, and everything else is on stderr."""
    store(hk, "s", "a", said("user", "Hello"), said("assistant", "Hi", tracking_id="1"))
    hk.submit("s", "up", message_id="1")
    hk.submit("s", "up")
    ran = cli("export", "--pairs")
    assert json.loads(ran.out)["answer"] == "Hi"
    assert ran.err == "1 pair exported\nLeft out: 1 entry not about a message\n"


def test_pairs_are_json_lines(cli: Any) -> None:
    """A table has no place for them."""
    for arguments in (("pairs.csv",), ("pairs.jsonl", "--format", "csv")):
        ran = cli("export", "--pairs", *arguments)
        assert (ran.code, "Pairs are written as JSON Lines" in ran.err) == (2, True)
