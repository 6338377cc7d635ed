"""No message is too large and no object too odd to go on: what is kept always fits, and is restored."""

import array
import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strands import Agent, tool
from strands.types.session import SessionMessage

import harken
from harken import Harken
from harken_adapters.hosts.strands import HarkenSessionManager, HarkenSessionRepository
from harken_adapters.hosts.strands.encoding import decoded, encoded, fitted, size_of
from local_model import LocalModel, ToolCall

SMALL = 20_000
ROWS: Any = [{"text": f"row {number} {'x' * 900}"} for number in range(100)]


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken in memory."""
    with harken.connect("memory://") as hk:
        yield hk


def talking(hk: Harken, answers: list[Any], **options: Any) -> Agent:
    """An agent with a session on Harken that keeps little of a message."""
    manager = HarkenSessionManager(hk, "s", max_record_bytes=SMALL)
    return Agent(model=LocalModel(answers), session_manager=manager, agent_id="a", callback_handler=None, **options)


def kept_sizes(hk: Harken) -> list[int]:
    """The bytes of each message."""
    return [size_of(dict(message)) for _, message in hk.conversations.stream("default", "s", "a")]


# --- What is too large ------------------------------------------------------------------------------------------------


def test_a_prompt_of_many_small_texts(hk: Harken, caplog: pytest.LogCaptureFixture) -> None:
    """The first are kept, a placeholder says how many others there were, and the conversation goes on."""
    agent = talking(hk, ["one", "two"])
    agent(ROWS)
    agent("and now?")
    restored = talking(hk, ["three"])
    *first, last = restored.messages[0]["content"]
    assert first == ROWS[: len(first)]
    assert len(first) > 15
    assert last["text"].startswith(f"[{100 - len(first)} blocks of ")
    assert f"left out of what is kept: {100 - len(first)} blocks" in caplog.text
    restored("and now?")
    assert len(talking(hk, []).messages) == 6
    assert max(kept_sizes(hk)) <= SMALL


def test_a_tools_result_of_many_small_texts(hk: Harken) -> None:
    """Call and result still belong together, and the first rows are kept."""

    @tool
    def search() -> dict[str, Any]:
        """Search."""
        return {"status": "success", "content": ROWS}

    agent = talking(hk, [ToolCall("search", {}), "found", "two"], tools=[search])
    agent("search")
    agent("and now?")
    restored = talking(hk, ["three"], tools=[search])
    call, result = restored.messages[1]["content"][0]["toolUse"], restored.messages[2]["content"][0]["toolResult"]
    assert call["toolUseId"] == result["toolUseId"]
    assert result["content"][:15] == ROWS[:15]
    assert "blocks of " in result["content"][-1]["text"]
    restored("and now?")
    assert len(talking(hk, []).messages) == 8
    assert max(kept_sizes(hk)) <= SMALL


NUMBERS = list(range(9_000))
CALL: Any = {"toolUse": {"toolUseId": "t", "name": "look", "input": {}}}
RESULT: Any = {"toolResult": {"toolUseId": "t", "status": "success", "content": [{"text": "found"}]}}


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ({"content": [{"text": "hi"}, {"text": "x", "extra": NUMBERS}]}, [{"text": "hi"}, "text of "]),
        ({"content": [{"text": "hi"}, {"y" * 9_000: NUMBERS}]}, [{"text": "hi"}, "y" * 50 + " of "]),
        ({"content": [{"text": "hi"}], "metadata": {"custom": NUMBERS}}, [{"text": "hi"}]),
        ({"content": [{"toolUse": {**CALL["toolUse"], "extra": NUMBERS}}]}, ["t"]),
        ({"content": [{**RESULT, "extra": NUMBERS}]}, ["t"]),
        ({"content": [{"toolResult": {**RESULT["toolResult"], "extra": NUMBERS}}]}, ["t"]),
        ({"content": [*ROWS, CALL]}, [ROWS[0]] * 21 + ["79 blocks of ", "t"]),
        ({"content": [{"toolUse": {**CALL["toolUse"], "name": NUMBERS}}]}, ["message of "]),
        ({"content": [CALL] * 9_000}, ["message of "]),
        ({"content": NUMBERS}, None),
        ({"content": {"numbers": NUMBERS}}, ["message of "]),
        ({"content": [], "__harken_encoded__": NUMBERS}, ["message of "]),
    ],
)
def test_only_what_must_be_is_left_out(message: dict[str, Any], kept: list[Any] | None) -> None:
    """Calls and results of tools keep their id as long as there is room; the rest of a message stays."""
    whole = {"role": "assistant", "tracking_id": "known", **message}
    record = fitted(encoded({"message": whole, "redact_message": None}, "x"), SMALL, "x")
    assert size_of(record) <= SMALL
    content = decoded(record["message"])["content"]
    if kept is None:
        return
    assert len(content) == len(kept)
    for block, expected in zip(content, kept, strict=True):
        if expected == "t":
            assert next(iter(block.values()))["toolUseId"] == "t"
        elif isinstance(expected, str):
            assert block["text"].startswith(f"[{expected}")
        else:
            assert block.keys() == expected.keys()
    if "__harken_encoded__" not in message:
        assert (record["message"]["role"], record["message"]["tracking_id"]) == ("assistant", "known")


_ANY = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.sampled_from(["x" * 1_500, "\0" * 900]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.builds(lambda item, count: [item] * count, inner, st.sampled_from([2, 50]))
        | st.dictionaries(st.text(max_size=9) | st.sampled_from(["content", "state", "role"]), inner, max_size=4)
    ),
    max_leaves=12,
)
_BLOCKS = st.lists(
    st.dictionaries(
        st.sampled_from(["text", "image", "json", "toolUse", "toolResult", "extra", "__harken_encoded__"]),
        _ANY | st.fixed_dictionaries({"toolUseId": _ANY, "content": st.lists(_ANY)}, optional={"input": _ANY}),
        max_size=2,
    ),
    max_size=4,
).flatmap(lambda blocks: st.sampled_from([blocks, blocks * 30]))
_MESSAGES = _ANY | st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]) | _ANY, "content": _BLOCKS | _ANY},
    optional={"metadata": _ANY, "tracking_id": _ANY, "extra": _ANY},
)


@given(_MESSAGES, st.none() | _MESSAGES, st.integers(1_000, 30_000))
def test_a_message_always_fits(message: Any, redacted: Any, limit: int) -> None:
    """Whatever it is made of, and whatever the limit is."""
    values = vars(SessionMessage({"role": "user", "content": []}, 2**63 - 1))
    record = fitted(encoded({**values, "message": message, "redact_message": redacted}, "x"), limit, "x")
    assert size_of(record) <= limit
    json.dumps(record, allow_nan=False)


def test_the_log_of_what_was_left_out_is_short(caplog: pytest.LogCaptureFixture) -> None:
    """It names the largest parts, and says how many more there were."""
    content = [{"text": f"{'x' * 2_000}"} for _ in range(500)]
    fitted(encoded({"message": {"role": "user", "content": content}}, "x"), 50_000, "x")
    assert " more" in caplog.text
    assert len(caplog.text) < 2_000


# --- What fails while it is read --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Unset:
    """One of its fields has no value."""

    there: int
    missing: int = dataclasses.field(init=False)


class BrokenMapping(Mapping[str, int]):
    """It has a name, but not its value."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        yield "a"

    def __getitem__(self, name: str) -> int:
        raise KeyError(name)

    def __str__(self) -> str:
        return "broken"


class BrokenItems(dict[str, int]):
    """A dictionary whose items cannot be read."""

    def items(self) -> Any:
        raise ZeroDivisionError


class BrokenList(list[int]):
    """A list that cannot be run through."""

    def __iter__(self) -> Iterator[int]:
        raise ZeroDivisionError


class BrokenFloat(float):
    """A number that fails to be one."""

    def __float__(self) -> float:
        raise ZeroDivisionError


class BrokenInt(int):
    """A number that fails to be one."""

    def bit_length(self) -> int:
        raise ZeroDivisionError

    def __int__(self) -> int:
        raise ZeroDivisionError

    def __index__(self) -> int:
        raise ZeroDivisionError


class BrokenTime(datetime):
    """A time that cannot be written."""

    def isoformat(self, *_: Any, **__: Any) -> str:
        raise ZeroDivisionError


class BrokenClass:
    """Its class cannot be asked for."""

    @property
    def __class__(self) -> Any:
        raise ZeroDivisionError


class NoText:
    """Its text is not a text."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307 - that is what is odd


def released() -> memoryview:
    """A view of nothing any more."""
    view = memoryview(b"abc")
    view.release()
    return view


def below_itself() -> Unset:
    """An object that contains itself."""
    outer = Unset(1)
    outer.missing = outer  # type: ignore[assignment]
    return outer


#: What it is, what is restored, and the type that the warning names, if there is one.
ODD: dict[str, tuple[Any, Any, str]] = {
    "unset field": (Unset(1), {"there": 1}, ""),
    "mapping": (BrokenMapping(), "broken", "BrokenMapping"),
    "dictionary": (BrokenItems(a=1), "{'a': 1}", "BrokenItems"),
    "list": (BrokenList([1]), "[1]", "BrokenList"),
    "float": (BrokenFloat(1.5), 1.5, ""),
    "infinite float": (BrokenFloat("inf"), float("inf"), ""),
    "int": (BrokenInt(3), 3, ""),
    "large int": (BrokenInt(10**5_000), 10**5_000, ""),
    "names": ({BrokenInt(3): 1, BrokenFloat(1.5): 2}, {"3": 1, "1.5": 2}, ""),
    "strided bytes": (memoryview(b"abcdef")[::2], b"ace", ""),
    "array": (memoryview(array.array("B", [1, 2])), b"\x01\x02", ""),
    "time": (BrokenTime(2026, 1, 2), "<BrokenTime>", "BrokenTime"),
    "class": (BrokenClass(), "<BrokenClass>", "BrokenClass"),
    "no text": (NoText(), "<NoText>", "NoText"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_objects_are_kept(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """As what they are where that can be read, and otherwise as text, with a warning; what is around them stays."""
    value, restored, warned = ODD[name]
    found = decoded(json.loads(json.dumps(encoded({"before": 1, "odd": [value, value], "after": 2}, "It"))))
    assert found == {"before": 1, "odd": [restored, restored], "after": 2}
    assert [record.message for record in caplog.records] == (
        [f"It has values that JSON cannot say; kept as text: {warned}"] if warned else []
    )


def test_released_memory_is_kept_as_text(caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to read any more."""
    text, after = encoded([released(), 1], "It")
    assert (text.startswith("<released memory at "), after) == (True, 1)
    assert "kept as text: memoryview" in caplog.text


def test_an_object_that_contains_itself() -> None:
    """It ends at some depth."""
    assert "nested too deeply" in json.dumps(encoded(below_itself(), "It"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_not_a_value(error: type[BaseException]) -> None:
    """Ctrl-C while a value is read ends the program."""

    class Interrupting:
        def __str__(self) -> str:
            raise error

    with pytest.raises(error):
        encoded(Interrupting(), "It")


def test_a_turn_goes_on_after_an_odd_result(hk: Harken, caplog: pytest.LogCaptureFixture) -> None:
    """The agent answers, and the next process goes on."""
    caplog.set_level(logging.WARNING)

    @tool
    def look() -> dict[str, Any]:
        """Look."""
        return {"status": "success", "content": [{"json": [Unset(1), BrokenMapping()]}]}

    agent = talking(hk, [ToolCall("look", {}), "done", "two"], tools=[look])
    agent("look")
    agent("and now?")
    restored = talking(hk, ["three"], tools=[look])
    assert restored.messages[2]["content"][0]["toolResult"]["content"] == [{"json": [{"there": 1}, "broken"]}]
    assert str(restored("again")).strip() == "three"


def test_a_stack_that_is_nearly_used_up(hk: Harken) -> None:
    """What is too deep for what is left of the stack is kept as text."""

    def below(frames: int, value: Any) -> None:
        if frames:
            below(frames - 1, value)
            return
        content: Any = [{"json": value}]
        HarkenSessionRepository(hk.conversations, "default").create_message(
            "s", "a", SessionMessage({"role": "user", "content": content}, 0)
        )

    nested: list[Any] = []
    for _ in range(150):
        nested = [nested]
    below(700, nested)
    ((_, message),) = hk.conversations.stream("default", "s", "a")
    assert message["message"]["role"] == "user"  # type: ignore[call-overload,index]
