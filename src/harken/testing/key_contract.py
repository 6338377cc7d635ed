"""Contract tests for key repositories."""

from __future__ import annotations

from functools import partial

from attrs import evolve

from harken.domain.access import ApiKey, Scope
from harken.domain.instants import MICROSECOND
from harken.testing.assertions import at_once, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_key


class KeyContract(FreshStorage):
    """A key is stored unchanged and once, and a revoked key stays revoked."""

    def test_every_field_of_a_key_comes_back_equal(self) -> None:
        """Every field is returned unchanged, including unusual values; an unknown id returns ``None``."""
        plain = a_key("plain")
        full = a_key(
            "full",
            application="größe '\"%_\\",
            scopes=frozenset(Scope),
            name="web ✓ $set",
            digest="f" * 64,
            created_at=NOON + MICROSECOND,
            revoked_at=NOON + 999 * MICROSECOND,
            agents=frozenset({"агент", 'it\'s "one"'}),
        )
        for_none = a_key("for none", agents=frozenset(), scopes=frozenset({Scope.READ, Scope.ADMIN}))
        with self.open_storage() as storage:
            check_same(storage.keys.get("full"), None)
            check_same([storage.keys.add(key) for key in (plain, full, for_none)], [True] * 3)
            check_same(storage.keys.get("full"), full)
            check_same(storage.keys.get("plain"), plain)
            # An empty set of agents differs from no restriction.
            check_same(storage.keys.get("for none"), for_none)
            check_same(storage.keys.get("Plain"), None)

    def test_an_id_is_used_once(self) -> None:
        """``add`` refuses an id that is in use, also for an equal key or another application, and changes nothing."""
        first = a_key("one")
        with self.open_storage() as storage:
            check_same(storage.keys.add(first), True)
            for other in (first, evolve(first, application="other"), evolve(first, digest="f" * 64)):
                check_same(storage.keys.add(other), False)
            check_same(list(storage.keys.keys()), [first])

    def test_keys_are_listed_oldest_first(self) -> None:
        """All keys of all applications, including revoked ones, are ordered by time, then by id, by code point."""
        keys = [
            a_key("Z", application="other"),
            a_key("a", revoked_at=NOON),
            a_key("é"),
            a_key("\uff5e", application="another"),
            a_key("\U0001f44d"),
            a_key("0", created_at=NOON + MICROSECOND),
        ]
        with self.open_storage() as storage:
            check_same(list(storage.keys.keys()), [])
            for key in reversed(keys):
                storage.keys.add(key)
            check_same(list(storage.keys.keys()), keys)

    def test_a_key_is_revoked_once(self) -> None:
        """``revoke`` keeps the time of the first revocation, returns the stored key, and changes no other key."""
        key, other = a_key("one"), a_key("other")
        revoked = evolve(key, revoked_at=NOON + MICROSECOND)
        with self.open_storage() as storage:
            check_same(storage.keys.revoke("one", at=NOON), None)
            storage.keys.add(key)
            storage.keys.add(other)
            check_same(storage.keys.revoke("one", at=NOON + MICROSECOND), revoked)
            check_same(storage.keys.get("one"), revoked)
            for at in (NOON, NOON + 2 * MICROSECOND):
                check_same(storage.keys.revoke("one", at=at), revoked)
            check_same(storage.keys.add(key), False)
            check_same(list(storage.keys.keys()), [revoked, other])

    def test_racing_revocations_agree(self) -> None:
        """If several threads revoke a key, all get the same result, and one of their times is stored."""
        with self.open_storage() as storage:
            storage.keys.add(a_key("one"))
            times = [NOON + number * MICROSECOND for number in range(8)]
            answers = at_once([partial(storage.keys.revoke, "one", at=at) for at in times])
            kept = storage.keys.get("one")
        check_same(answers, [kept] * len(times))
        check_same(kept is not None and kept.revoked_at in times, True)

    def test_one_of_several_racing_keys_is_stored(self) -> None:
        """If several threads add different keys with the same id, one succeeds, and its key is stored."""
        rivals: list[ApiKey] = [a_key("one", name=f"rival {number}") for number in range(8)]
        with self.open_storage() as storage:
            won = at_once([partial(storage.keys.add, rival) for rival in rivals])
            check_same(sum(won), 1)
            check_same(storage.keys.get("one"), rivals[won.index(True)])
