"""What every session repository has to keep."""

from __future__ import annotations

from functools import partial

from harken.testing.checks import at_once, check_same
from harken.testing.fresh import FreshStorage


class SessionContract(FreshStorage):
    """Metadata is updated key by key, and never shared."""

    def test_metadata_is_updated_key_by_key(self) -> None:
        """An update sets its keys and leaves the others; deleting says how many there were."""
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

    def test_nothing_live_is_handed_out(self) -> None:
        """Changing what was taken in or handed out changes nothing that is stored."""
        taken_in: dict[str, object] = {"list": [1]}
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", taken_in)  # type: ignore[arg-type] # an object of our own
            taken_in["list"] = None
            handed_out = storage.sessions.get("default", "s")
            inner = handed_out["list"]
            if isinstance(inner, list):
                inner.append(2)
            handed_out["more"] = True
            check_same(storage.sessions.get("default", "s"), {"list": [1]})

    def test_racing_updates_of_metadata_all_arrive(self) -> None:
        """Threads that set different keys at once overwrite nothing of each other."""
        with self.open_storage() as storage:
            at_once([partial(storage.sessions.update, "default", "s", {f"k{n}": n}) for n in range(8)])
            check_same(storage.sessions.get("default", "s"), {f"k{n}": n for n in range(8)})
