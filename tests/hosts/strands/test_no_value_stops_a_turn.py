"""No message is too large and no object too unusual: stored messages never exceed the limit, and are restored."""

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
from harken_adapters.formats.value_encoding import decode, encode
from harken_adapters.hosts.strands import HarkenSessionManager, HarkenSessionRepository
from harken_adapters.hosts.strands.shortening import shorten, size_of
from local_model import LocalModel, ToolCall

SMALL = 20_000
ROWS: Any = [{"text": f"row {number} {'x' * 900}"} for number in range(100)]


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken in memory."""
    with harken.connect("memory://") as hk:
        yield hk


def create_agent(hk: Harken, answers: list[Any], **options: Any) -> Agent:
    """An agent with a session on Harken, with a low size limit."""
    manager = HarkenSessionManager(hk, "s", max_record_bytes=SMALL)
    return Agent(model=LocalModel(answers), session_manager=manager, agent_id="a", callback_handler=None, **options)


def stored_sizes(hk: Harken) -> list[int]:
    """The size of each message, in bytes."""
    return [size_of(dict(message)) for _, message in hk.conversations.stream("default", "s", "a")]


# --- Large values -----------------------------------------------------------------------------------------------------


def test_a_prompt_of_many_small_texts(hk: Harken, caplog: pytest.LogCaptureFixture) -> None:
    """The first texts are stored, a placeholder has the number of the others, and the conversation continues."""
    agent = create_agent(hk, ["one", "two"])
    agent(ROWS)
    agent("and now?")
    restored = create_agent(hk, ["three"])
    *first, last = restored.messages[0]["content"]
    assert first == ROWS[: len(first)]
    assert len(first) > 15
    assert last["text"].startswith(f"[{100 - len(first)} blocks of ")
    assert f"stored without: {100 - len(first)} blocks" in caplog.text
    restored("and now?")
    assert len(create_agent(hk, []).messages) == 6
    assert max(stored_sizes(hk)) <= SMALL


def test_a_tool_result_of_many_small_texts(hk: Harken) -> None:
    """The call and its result keep their common id, and the first rows are stored."""

    @tool
    def search() -> dict[str, Any]:
        """Search."""
        return {"status": "success", "content": ROWS}

    agent = create_agent(hk, [ToolCall("search", {}), "found", "two"], tools=[search])
    agent("search")
    agent("and now?")
    restored = create_agent(hk, ["three"], tools=[search])
    call, result = restored.messages[1]["content"][0]["toolUse"], restored.messages[2]["content"][0]["toolResult"]
    assert call["toolUseId"] == result["toolUseId"]
    assert result["content"][:15] == ROWS[:15]
    assert "blocks of " in result["content"][-1]["text"]
    restored("and now?")
    assert len(create_agent(hk, []).messages) == 8
    assert max(stored_sizes(hk)) <= SMALL


NUMBERS = list(range(9_000))
CALL: Any = {"toolUse": {"toolUseId": "t", "name": "look", "input": {}}}
RESULT: Any = {"toolResult": {"toolUseId": "t", "status": "success", "content": [{"text": "found"}]}}


@pytest.mark.parametrize(
    ("message", "stored"),
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
def test_only_large_parts_are_replaced(message: dict[str, Any], stored: list[Any] | None) -> None:
    """Tool calls and results keep their ids if possible, and other parts of a message stay unchanged."""
    whole = {"role": "assistant", "tracking_id": "known", **message}
    record = shorten(encode({"message": whole, "redact_message": None}, "x"), SMALL, "x")
    assert size_of(record) <= SMALL
    content = decode(record["message"])["content"]
    if stored is None:
        return
    assert len(content) == len(stored)
    for block, expected in zip(content, stored, strict=True):
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
def test_a_stored_message_never_exceeds_the_limit(message: Any, redacted: Any, limit: int) -> None:
    """This holds for any content and any limit."""
    values = vars(SessionMessage({"role": "user", "content": []}, 2**63 - 1))
    record = shorten(encode({**values, "message": message, "redact_message": redacted}, "x"), limit, "x")
    assert size_of(record) <= limit
    json.dumps(record, allow_nan=False)


def test_the_log_of_replaced_parts_is_short(caplog: pytest.LogCaptureFixture) -> None:
    """It names the largest parts, and the number of the others."""
    content = [{"text": f"{'x' * 2_000}"} for _ in range(500)]
    shorten(encode({"message": {"role": "user", "content": content}}, "x"), 50_000, "x")
    assert " more" in caplog.text
    assert len(caplog.text) < 2_000


# --- Objects that fail while they are read ----------------------------------------------------------------------------


@dataclasses.dataclass
class Unset:
    """A dataclass with a field that has no value."""

    there: int
    missing: int = dataclasses.field(init=False)


class BrokenMapping(Mapping[str, int]):
    """A mapping with a key that has no value."""

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
    """A list that cannot be iterated over."""

    def __iter__(self) -> Iterator[int]:
        raise ZeroDivisionError


class BrokenFloat(float):
    """A number whose conversions fail."""

    def __float__(self) -> float:
        raise ZeroDivisionError


class BrokenInt(int):
    """A number whose conversions fail."""

    def bit_length(self) -> int:
        raise ZeroDivisionError

    def __int__(self) -> int:
        raise ZeroDivisionError

    def __index__(self) -> int:
        raise ZeroDivisionError


class BrokenTime(datetime):
    """A time that cannot be formatted."""

    def isoformat(self, *_: Any, **__: Any) -> str:
        raise ZeroDivisionError


class BrokenClass:
    """An object whose class cannot be read."""

    @property
    def __class__(self) -> Any:
        raise ZeroDivisionError


class NoText:
    """An object whose text is not a str."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307 - the purpose of the class


def released() -> memoryview:
    """A view of memory that was released."""
    view = memoryview(b"abc")
    view.release()
    return view


def recursive() -> Unset:
    """An object that contains itself."""
    outer = Unset(1)
    outer.missing = outer  # type: ignore[assignment]
    return outer


#: An object, the value that is restored, and the type in the warning, if there is one.
UNUSUAL: dict[str, tuple[Any, Any, str]] = {
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


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_objects_are_stored(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values that can be read are stored, others as text with a warning; values around them stay unchanged."""
    value, restored, warned = UNUSUAL[name]
    found = decode(json.loads(json.dumps(encode({"before": 1, "odd": [value, value], "after": 2}, "It"))))
    assert found == {"before": 1, "odd": [restored, restored], "after": 2}
    assert [record.message for record in caplog.records] == (
        [f"It has values that JSON cannot represent; stored as text: {warned}"] if warned else []
    )


def test_released_memory_is_stored_as_text(caplog: pytest.LogCaptureFixture) -> None:
    """Its content cannot be read."""
    text, after = encode([released(), 1], "It")
    assert (text.startswith("<released memory at "), after) == (True, 1)
    assert "stored as text: memoryview" in caplog.text


def test_an_object_that_contains_itself() -> None:
    """It is stored up to the maximum depth."""
    assert "nested too deeply" in json.dumps(encode(recursive(), "It"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_raised(error: type[BaseException]) -> None:
    """Ctrl-C while a value is read is not suppressed."""

    class Interrupting:
        def __str__(self) -> str:
            raise error

    with pytest.raises(error):
        encode(Interrupting(), "It")


def test_a_turn_continues_after_an_unusual_result(hk: Harken, caplog: pytest.LogCaptureFixture) -> None:
    """The agent answers, and the next process continues."""
    caplog.set_level(logging.WARNING)

    @tool
    def look() -> dict[str, Any]:
        """Look."""
        return {"status": "success", "content": [{"json": [Unset(1), BrokenMapping()]}]}

    agent = create_agent(hk, [ToolCall("look", {}), "done", "two"], tools=[look])
    agent("look")
    agent("and now?")
    restored = create_agent(hk, ["three"], tools=[look])
    assert restored.messages[2]["content"][0]["toolResult"]["content"] == [{"json": [{"there": 1}, "broken"]}]
    assert str(restored("again")).strip() == "three"


def test_a_stack_that_is_almost_full(hk: Harken) -> None:
    """Values that are too deep for the rest of the stack are stored as text."""

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
