"""Generated session documents, as programs without Harken store them in MongoDB; some are invalid."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from attrs import Factory, define
from bson import Int64, ObjectId
from bson.decimal128 import Decimal128

Document = dict[str, Any]
#: A rejected entry: its session, and its position in the array.
Place = tuple[str, int | None]

DEFAULT: Final = "default"
_START: Final = datetime(2024, 1, 26, 10)  # noqa: DTZ001 - as BSON gives it, which means UTC


@define
class Expected:
    """The expected result: the number of kept entries by application and session, and the rejected entries."""

    documents: int = 0
    entries: int = 0
    kept: Counter[tuple[str, str]] = Factory(Counter)
    rejected: list[Place] = Factory(list)
    values: int = 0
    values_kept: int = 0


def session_documents(size: int, expected: Expected, seed: int = 1) -> Iterator[Document]:
    """Yield this many documents in random order of ids, and record the expected result."""
    chance = Random(seed)
    for number in range(size):
        document: Document = {"_id": _document_id(chance, number), "session_type": "default", "agents": {"a": {}}}
        session_id = str(document["_id"])
        application = chance.choice((DEFAULT, DEFAULT, "shop", "", None))
        if application is not None:
            document["application_name"] = application
        _feedbacks(chance, document, (application or DEFAULT, session_id), expected)
        _metadata(chance, document, expected)
        expected.documents += 1
        yield document


def _document_id(chance: Random, number: int) -> object:
    make: Callable[[], object] = chance.choices(
        (
            lambda: f"session-{chance.randrange(10**6):06}-{number}",
            lambda: number,
            lambda: ObjectId(f"{number:024x}"),
            lambda: UUID(int=number),
            lambda: f"bell\x07-{number}",
            lambda: "x" * 201 + str(number),
        ),
        weights=(90, 3, 3, 2, 1, 1),
    )[0]
    return make()


def _feedbacks(chance: Random, document: Document, session: tuple[str, str], expected: Expected) -> None:
    shape = chance.randrange(100)
    session_id = session[1]
    if shape == 0:
        return
    if shape in (1, 2):
        document["feedbacks"] = [None, "all fine", {"rating": "up"}, 7][chance.randrange(4)]
        if document["feedbacks"] is not None:
            expected.entries += 1
            expected.rejected.append((session_id, None))
        return
    document["feedbacks"] = []
    usable = session_id.isprintable() and len(session_id) <= 200
    for position in range(chance.choice((0, 1, 1, 1, 2, 2, 3))):
        bad = chance.random() < 0.05
        entry = _bad_entry(chance) if bad else _entry(chance)
        document["feedbacks"].append(entry)
        expected.entries += 1
        if bad or not usable:
            expected.rejected.append((session_id, position))
        else:
            expected.kept[session] += 1
    if usable and document["feedbacks"] and not bad and chance.random() < 0.1:
        # The user clicked twice at the same instant.
        document["feedbacks"].append(dict(entry))
        expected.entries += 1
        expected.kept[session] += 1


def _entry(chance: Random) -> Document:
    at = _START + timedelta(milliseconds=chance.randrange(10**10))
    rating = chance.choice(("up", "down", None))
    entry: Document = {"rating": rating, "comment": f"words {chance.randrange(50)} 👍" if rating == "down" else ""}
    entry["created_at"] = at if chance.random() < 0.5 else at.isoformat()
    extras: Document = {
        "message_id": f"m-{chance.randrange(9)}",
        "agent_id": "helper",
        "author": chance.randrange(9),
        "tags": ["slow"],
        "user.tier": "gold",
        "_id": ObjectId(f"{chance.randrange(10**6):024x}"),
        "seen_at": at,
        "nested": {"a": [1, at, {"b": float("nan")}]},
        "price": Decimal128("1.10"),
        "big": Int64(2**40),
        "share": float("inf"),
        "blob": b"\x00\xff",
    }
    for name in chance.sample(sorted(extras), chance.randrange(4)):
        entry[name] = extras[name]
    return entry


def _bad_entry(chance: Random) -> object:
    fine = _entry(chance)
    return chance.choice(
        (
            "great!",
            None,
            [fine],
            42,
            {**fine, "rating": "meh"},
            {**fine, "rating": 1},
            {**fine, "comment": "x" * 10_001},
            {**fine, "comment": ["a"]},
            {**fine, "created_at": "yesterday"},
            {**fine, "created_at": datetime(1969, 1, 1)},  # noqa: DTZ001
        )
    )


def _metadata(chance: Random, document: Document, expected: Expected) -> None:
    if chance.random() < 0.5:
        return
    values: Document = {"tier": "gold", "seen_at": _START, "user": ObjectId("0" * 24), "history": ["up", {"n": 1}]}
    spoilt: Document = {"$where": 1, "a.b": 2, "ratio": float("nan"), "deep": {"$set": 1}}
    chosen = {name: values[name] for name in chance.sample(sorted(values), chance.randrange(4))}
    unfit = {name: spoilt[name] for name in chance.sample(sorted(spoilt), chance.random() < 0.1)}
    document["metadata"] = metadata = {**chosen, **unfit}
    session_id = str(document["_id"])
    usable = session_id.isprintable() and len(session_id) <= 200
    expected.values += len(metadata)
    expected.values_kept += len(chosen) if usable else 0
    expected.rejected += [(session_id, None)] * (len(unfit) if usable else len(metadata))
