"""Contract tests for session repositories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from harken.domain.errors import FeedbackNotFound, InvalidMetadata
from harken.domain.metadata import MAX_METADATA_BYTES, MAX_METADATA_NAMES
from harken.ports.sessions import JsonValue
from harken.ports.storage import Storage
from harken.testing.assertions import at_once, check_raises, check_same
from harken.testing.base import FreshStorage


class SessionContract(FreshStorage):
    """Metadata is updated key by key and copied."""

    def test_metadata_is_updated_key_by_key(self) -> None:
        """An update sets its keys and keeps the others; ``delete`` returns the number of keys removed."""
        with self.open_storage() as storage:
            check_same(storage.sessions.get("default", "s"), {})
            storage.sessions.update("default", "s", {"b": [1, 1.0, True, None, {"x": "ü"}], "a": "1"})
            storage.sessions.update("default", "s", {"c": 2**63 - 1, "a": False})
            expected = {"a": False, "b": [1, 1.0, True, None, {"x": "ü"}], "c": 2**63 - 1}
            check_same(storage.sessions.get("default", "s"), expected)
            check_same(storage.sessions.get("other", "s"), {})
            check_same(storage.sessions.delete("default", "s", ["a", "nothing", "a"]), 1)
            check_same(list(storage.sessions.get("default", "s")), ["b", "c"])
            check_same(storage.sessions.delete("default", "s"), 2)
            check_same(storage.sessions.get("default", "s"), {})

    def test_names_are_any_text(self) -> None:
        """A name may look like a path, an operator or an escape, at every level, and is never treated as one."""
        names = [
            "$set",
            "$where",
            "%",
            "%2E",
            "%252E",
            "0",
            "50 %",
            " ",
            "a",
            "a%2Eb",
            "a.b",
            "a..b",
            "é'\"\\",
            "x" * 1_000,
        ]
        values: dict[str, JsonValue] = {name: {"_id": 1, name: [{name: name}]} for name in sorted(names)}
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", values)
            check_same(storage.sessions.get("default", "s"), values)
            check_same(list(storage.sessions.stream()), [("default", "s", values)])
            storage.sessions.index([["a.b"], ["a", "$set"]])
            storage.sessions.update("default", "s", {"a.b": 1})
            check_same(storage.sessions.get("default", "s"), values | {"a.b": 1})
            check_same(storage.sessions.delete("default", "s", ["a.b", "$set", "%", "a.$set"]), 3)
            left = {name: value for name, value in values.items() if name not in ("a.b", "$set", "%")}
            check_same(storage.sessions.get("default", "s"), left)
            versions = storage.sessions.change("default", "s", lambda before: {**before, "a.b": {"$": [{"%": 1}]}})
            check_same(versions.before, left)
            check_same(storage.sessions.get("default", "s"), dict(sorted({**left, "a.b": {"$": [{"%": 1}]}}.items())))

    def test_a_change_replaces_the_metadata(self) -> None:
        """Names are set, replaced and removed as the function says; the metadata before and after is returned."""
        values: dict[str, JsonValue] = {"b": [1, {"x": None}], "a": 1, "c": True}
        with self.open_storage() as storage:
            versions = storage.sessions.change("default", "s", lambda before: {**before, **values})
            check_same((versions.before, versions.after), ({}, dict(sorted(values.items()))))
            versions = storage.sessions.change("default", "s", lambda before: {"d": before["b"], "a": 1.0, "c": 1})
            check_same(versions.before, dict(sorted(values.items())))
            check_same(versions.after, {"a": 1.0, "c": 1, "d": [1, {"x": None}]})
            check_same(storage.sessions.get("default", "s"), {"a": 1.0, "c": 1, "d": [1, {"x": None}]})
            check_same(storage.sessions.get("other", "s"), {})
            check_same(storage.sessions.change("default", "s", dict).after, versions.after)
            check_same(storage.sessions.change("default", "s", lambda _: {}).after, {})
            check_same(storage.sessions.change("default", "s", lambda _: {}).before, {})
            check_same(storage.sessions.get("default", "s"), {})
            check_same(list(storage.sessions.stream()), [])
            storage.sessions.update("default", "s", {"a": 2})
            check_same(storage.sessions.get("default", "s"), {"a": 2})

    def test_a_change_that_raises_changes_nothing(self) -> None:
        """The error of the function is raised, and the metadata stays as it was."""
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", {"a": {"b": 1}})
            for session_id in ("s", "new"):
                check_raises(FeedbackNotFound, partial(storage.sessions.change, "default", session_id, _refuse))
            check_same(list(storage.sessions.stream()), [("default", "s", {"a": {"b": 1}})])

    def test_changed_metadata_is_copied(self) -> None:
        """Changing what a change was given or returned does not change the storage."""
        inner: list[JsonValue] = [1]
        with self.open_storage() as storage:
            versions = storage.sessions.change("default", "s", lambda before: {**before, "list": inner})
            inner.append(2)
            after = versions.after["list"]
            if isinstance(after, list):
                after.append(3)
            check_same(storage.sessions.get("default", "s"), {"list": [1]})

    def test_a_single_string_is_one_key(self) -> None:
        """Deleting a key given as a string removes that key, and not the keys named by its letters."""
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", dict.fromkeys(("topic", "t", "o", "p"), 1))
            check_same(storage.sessions.delete("default", "s", "topic"), 1)
            check_same(list(storage.sessions.get("default", "s")), ["o", "p", "t"])

    def test_an_index_changes_nothing(self) -> None:
        """Names can be indexed before and after they are set, and again."""
        with self.open_storage() as storage:
            storage.sessions.index([["topic"]])
            storage.sessions.update("default", "s", {"topic": ["a", {"b": 1}], "tier": None})
            storage.sessions.index([["topic"], ["tier"], ["topic", "b"]])
            check_same(storage.sessions.get("default", "s"), {"tier": None, "topic": ["a", {"b": 1}]})

    def test_metadata_is_copied(self) -> None:
        """Changing an object that was stored or returned does not change the storage."""
        taken_in: dict[str, object] = {"list": [1]}
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", taken_in)  # type: ignore[arg-type] # a mutable value
            taken_in["list"] = None
            handed_out = storage.sessions.get("default", "s")
            inner = handed_out["list"]
            if isinstance(inner, list):
                inner.append(2)
            handed_out["more"] = True
            check_same(storage.sessions.get("default", "s"), {"list": [1]})

    def test_metadata_is_streamed_in_order(self) -> None:
        """Every session that has metadata is streamed once, by application, then by session id, both by code point."""
        places = [
            ("a", "Z"),
            ("a", "s"),
            ("a", "s 2"),
            ("a", "é"),
            ("a", "\uff5e"),
            ("a", "\U0001f44d"),
            ("a b", "r"),
            ("b", "r"),
        ]
        with self.open_storage() as storage:
            check_same(list(storage.sessions.stream()), [])
            for application, session_id in reversed(places):
                storage.sessions.update(application, session_id, {"b": [session_id], "a": None})
            storage.sessions.update("a", "nothing ever", {})
            storage.sessions.update("a", "nothing left", {"a": 1})
            storage.sessions.delete("a", "nothing left")
            check_same(list(storage.sessions.stream()), [(*place, {"a": None, "b": [place[1]]}) for place in places])

    def test_metadata_may_change_while_it_is_streamed(self) -> None:
        """A session that exists throughout is streamed exactly once, however much is changed and removed meanwhile."""
        # More than an adapter is likely to read at a time.
        names = [f"session-{number:05}" for number in range(1_100)]
        with self.open_storage() as storage:
            for name in names:
                storage.sessions.update("default", name, {"a": 1, "b": 2})
            seen = []
            for application, session_id, metadata in storage.sessions.stream():
                seen.append(session_id)
                check_same(metadata, {"a": 1, "b": 2})
                if len(seen) % 20 == 0:
                    storage.sessions.update(application, session_id, {"c": 3})
                    storage.sessions.delete(application, names[len(seen) - 2])
        check_same(seen, names)

    def test_racing_updates_of_metadata_are_all_stored(self) -> None:
        """Threads that set different keys do not overwrite each other."""
        with self.open_storage() as storage:
            at_once([partial(storage.sessions.update, "default", "s", {f"k{n}": n}) for n in range(8)])
            check_same(storage.sessions.get("default", "s"), {f"k{n}": n for n in range(8)})

    def test_racing_changes_are_all_stored(self) -> None:
        """Changes of one value, and updates and deletions of others at the same time, do not undo each other."""
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", {f"gone{n}": n for n in range(4)})
            changes = [partial(storage.sessions.change, "default", "s", _count) for _ in range(8)]
            updates = [partial(storage.sessions.update, "default", "s", {f"k{n}": n}) for n in range(4)]
            deletions = [partial(storage.sessions.delete, "default", "s", f"gone{n}") for n in range(4)]
            calls: list[Callable[[], object]] = [*changes, *updates, *deletions]
            at_once(calls)
            check_same(storage.sessions.get("default", "s"), {"count": {"n": 8}, **{f"k{n}": n for n in range(4)}})

    def test_a_change_does_not_restore_what_is_deleted_meanwhile(self) -> None:
        """A deletion takes effect before a change or after it."""
        with self.open_storage() as storage:
            for number in range(20):
                session_id = f"s{number}"
                storage.sessions.update("default", session_id, {"a": {"old": 1}, "b": 1})
                change = partial(storage.sessions.change, "default", session_id, _add_to_a)
                racing: list[Callable[[], object]] = [
                    change,
                    partial(storage.sessions.delete, "default", session_id, "a"),
                ]
                at_once(racing)
                kept = storage.sessions.get("default", session_id)
                check_same(kept, {"a": {"new": 1}, "b": 1} if "a" in kept else {"b": 1})

    def test_a_session_has_a_limited_number_of_names(self) -> None:
        """An update that exceeds the number of names is refused as a whole; other updates still succeed."""
        full: dict[str, JsonValue] = {f"name-{number:04}": number for number in range(MAX_METADATA_NAMES)}
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", dict(list(full.items())[:600]))
            storage.sessions.update("default", "s", dict(list(full.items())[600:]))
            refused: list[dict[str, JsonValue]] = [{"more": 1}, {"more": 1, "name-0000": "changed"}]
            for changes in refused:
                check_raises(InvalidMetadata, partial(storage.sessions.update, "default", "s", changes))
                check_raises(
                    InvalidMetadata, partial(storage.sessions.change, "default", "s", partial(_merge, changes))
                )
            check_same(storage.sessions.get("default", "s"), full)
            storage.sessions.update("default", "s", {"name-0000": "changed"})
            storage.sessions.update("default", "other", {"more": 1})
            storage.sessions.delete("default", "s", ["name-0001"])
            storage.sessions.update("default", "s", {"more": 1})
            check_same(len(storage.sessions.get("default", "s")), MAX_METADATA_NAMES)

    def test_a_session_has_a_limited_number_of_bytes(self) -> None:
        """The limit counts names and values as compact JSON in UTF-8, over all updates, to the last byte."""
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", {"ü": ["\u00fc", 1.5, {"x": None}]})
            used = len('ü["ü",1.5,{"x":null}]'.encode())
            left = MAX_METADATA_BYTES - used - len("text") - 2
            storage.sessions.update("default", "s", {"text": "x" * left})
            check_raises(InvalidMetadata, partial(storage.sessions.update, "default", "s", {"text": "x" * (left + 1)}))
            check_raises(InvalidMetadata, partial(storage.sessions.update, "default", "s", {"a": 1}))
            check_raises(InvalidMetadata, partial(storage.sessions.change, "default", "s", partial(_merge, {"a": 1})))
            check_same(list(storage.sessions.get("default", "s")), ["text", "ü"])
            storage.sessions.update("default", "s", {"text": "x" * (left - 2), "a": 1})
            check_same(list(storage.sessions.get("default", "s")), ["a", "text", "ü"])
            check_raises(InvalidMetadata, partial(storage.sessions.update, "default", "t", {"a": "x" * 2 * left}))
            check_same(storage.sessions.get("default", "t"), {})

    def test_racing_updates_cannot_exceed_the_limit(self) -> None:
        """Of several threads that each set an allowed value, only as many succeed as fit within the limit."""
        third = "x" * (MAX_METADATA_BYTES // 3 - 100)
        with self.open_storage() as storage:
            setters: list[Callable[[], bool]] = [
                partial(_set, storage, {f"k{number}": third}, changes=number % 2 == 0) for number in range(6)
            ]
            won = at_once(setters)
            kept = storage.sessions.get("default", "s")
        check_same(kept, {f"k{number}": third for number in range(6) if won[number]})
        check_same(sum(won), 3)


def _set(storage: Storage, values: Mapping[str, JsonValue], *, changes: bool) -> bool:
    try:
        if changes:
            storage.sessions.change("default", "s", partial(_merge, values))
        else:
            storage.sessions.update("default", "s", values)
    except InvalidMetadata:
        return False
    return True


def _merge(values: Mapping[str, JsonValue], before: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    return {**before, **values}


def _refuse(before: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    raise FeedbackNotFound("default", f"with {len(before)} names")


def _count(before: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    count = before.get("count")
    number = count["n"] if isinstance(count, dict) else 0
    return {**before, "count": {"n": number + 1 if isinstance(number, int) else None}}


def _add_to_a(before: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    a = before.get("a")
    return {**before, "a": {**(a if isinstance(a, dict) else {}), "new": 1}}
