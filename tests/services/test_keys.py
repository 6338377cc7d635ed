"""API keys: created, shown once, authenticated, and revoked."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

import pytest
from attrs import evolve
from dependency_injector.providers import Object
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Harken, InvalidCredentials, KeyNotFound, KeyRejected, NewKey, Scope, StorageUnavailable
from harken.configuration.settings import Settings
from harken.ports.state import StateEntry, StateRepository
from harken.services.copying import Copying
from harken.services.keys import FLOOD, MAX_FAILURES
from harken.testing import reference_storage
from harken.testing import strategies as hst
from support import NOON, PATIENCE, ManualClock, eventually

APP = "default"
REFUSED = "This API key is not valid: it is unknown, incomplete or revoked; ask for a new one"


@pytest.fixture
def made(hk: Harken) -> NewKey:
    """A key for submitting and reading."""
    return hk.keys.create(APP, ["submit", Scope.READ], name="web backend")


def refused(hk: Harken, text: str) -> str:
    """The error message for a text that is not a valid key."""
    with pytest.raises(InvalidCredentials) as caught:
        hk.keys.authenticate(text)
    return str(caught.value)


def test_a_key_is_authenticated_by_its_text(hk: Harken, made: NewKey) -> None:
    """The text identifies the key, with all its attributes."""
    key = hk.keys.authenticate(made.text)
    assert key == made.key
    assert (key.application, key.name, key.created_at, key.revoked_at) == (APP, "web backend", NOON, None)
    assert key.scopes == {Scope.SUBMIT, Scope.READ}
    assert list(hk.keys.keys()) == [key]


def test_a_key_with_a_chosen_id_is_created_once(hk: Harken) -> None:
    """A repeated call does not create a second key, nor does it return the text again."""
    made = hk.keys.create(APP, ["read"], key_id="0a1b")
    assert hk.keys.authenticate(made.text).id == made.key.id == "0a1b"
    with pytest.raises(KeyRejected, match="has already been created"):
        hk.keys.create(APP, ["read"], key_id="0a1b")
    assert list(hk.keys.keys()) == [hk.keys.authenticate(made.text)]
    for invalid in ("", "x", "A", "0" * 65):
        with pytest.raises(KeyRejected, match="must have 1 to 64 hexadecimal digits"):
            hk.keys.create(APP, ["read"], key_id=invalid)


def test_the_text_is_not_stored(made: NewKey) -> None:
    """Only the SHA-256 of the text is stored, and neither is printed with a key."""
    shape = re.fullmatch(rf"hk_{made.key.id}_([A-Za-z0-9_-]{{43,}})", made.text)
    assert shape
    assert made.key.digest == hashlib.sha256(made.text.encode()).hexdigest()
    assert shape[1] not in repr(made)
    assert made.key.digest not in repr(made)


def test_keys_are_unique(hk: Harken) -> None:
    """Ids and secrets are random."""
    made = [hk.keys.create(APP, ["read"]) for _ in range(50)]
    assert len({one.key.id for one in made}) == len({one.text.split("_", 2)[2] for one in made}) == 50


@given(text=hst.texts() | st.text() | st.from_regex(r"hk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_invalid_texts_are_refused(text: str) -> None:
    """Any invalid text is refused with the same message, and never with an unexpected error."""
    with harken.connect(reference_storage()) as hk:
        hk.keys.create(APP, ["admin"])
        assert refused(hk, text) == REFUSED


@given(data=st.data())
def test_a_modified_key_is_refused(data: st.DataObject) -> None:
    """Every character counts: a changed, missing or additional one makes the key invalid."""
    with harken.connect(reference_storage()) as hk:
        text = hk.keys.create(APP, ["admin"]).text
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from(["", "_", "0", "a", "Z", text[place] * 2, "\n", "é"]))
        changed = text[:place] + other + text[place + 1 :]
        if changed != text:
            assert refused(hk, changed) == REFUSED


@pytest.mark.parametrize("tell", [lambda text: f" {text}", lambda text: f"{text}\n", str.upper, lambda text: text * 9])
def test_a_similar_text_is_refused(hk: Harken, made: NewKey, tell: Callable[[str], str]) -> None:
    """Texts are neither trimmed nor case-folded."""
    assert refused(hk, tell(made.text)) == REFUSED


def test_the_secret_of_another_key_is_refused(hk: Harken, made: NewKey) -> None:
    """An existing id with the secret of another key is invalid."""
    other = hk.keys.create("other", ["admin"])
    mixed = f"hk_{other.key.id}_{made.text.split('_', 2)[2]}"
    assert refused(hk, mixed) == REFUSED


def test_a_revoked_key_is_refused_with_the_same_message(hk: Harken, clock: ManualClock, made: NewKey) -> None:
    """Revoking is immediate and permanent, and does not affect other keys."""
    other = hk.keys.create(APP, ["submit"])
    clock.turn(hours=1)
    revoked = hk.keys.revoke(made.key.id)
    assert revoked == made.key.revoke(at=clock.now)
    clock.turn(hours=1)
    assert hk.keys.revoke(made.key.id) == revoked
    assert refused(hk, made.text) == REFUSED
    assert hk.keys.authenticate(other.text) == other.key
    assert list(hk.keys.keys()) == sorted([revoked, other.key], key=lambda key: key.id)


@pytest.mark.parametrize("key_id", ["nobody", "", "\x00", "\ud800", "hk_", "0123456789abcdef", "hk_0123456789abcdef_x"])
def test_revoking_an_unknown_key(hk: Harken, made: NewKey, key_id: str) -> None:
    """An unknown id is not found, even if no storage could store it."""
    with pytest.raises(KeyNotFound, match=r"No API key with id '0123456789abcdef';|is not the id of an API key"):
        hk.keys.revoke(key_id)
    assert hk.keys.authenticate(made.text) == made.key


def test_keys_are_in_use_once_there_was_one(hk: Harken) -> None:
    """Keys are in use from the first one on, even after the last one is revoked."""
    assert not hk.keys.in_use()
    first, second = hk.keys.create(APP, ["read"]), hk.keys.create("other", ["read"])
    hk.keys.revoke(first.key.id)
    assert hk.keys.in_use()
    hk.keys.revoke(second.key.id)
    assert hk.keys.in_use()


def test_a_copy_has_no_keys() -> None:
    """Access to a storage does not imply access to its copy."""
    source, target = reference_storage(), reference_storage()
    with harken.connect(source) as hk:
        hk.submit("s", "up")
        hk.keys.create(APP, ["admin"])
    assert list(Copying(source, target, print).batches()) == [1]
    with harken.connect(target) as hk:
        assert hk.summary().positive == 1
        assert not hk.keys.keys()


@pytest.mark.parametrize(
    ("application", "scopes", "name", "why"),
    [
        (APP, [], "", "at least one scope"),
        (APP, ["read", "raed"], "", "Unknown scope 'raed'; expected 'submit', 'read'"),
        (APP, "raed", "", "Unknown scope 'raed'"),
        ("", ["read"], "", "application must not be empty"),
        ("a\nb", ["read"], "x" * 201, "control characters; name too long"),
        (APP, ["read"], "\ud800", "lone surrogate"),
        (APP, ["read"], " ", "name must not be empty"),
    ],
)
def test_an_invalid_key_is_not_created(
    hk: Harken, application: str, scopes: Iterable[str], name: str, why: str
) -> None:
    """The message says what is wrong, and nothing is stored."""
    with pytest.raises(KeyRejected, match=why):
        hk.keys.create(application, scopes, name=name)
    assert not hk.keys.keys()


@pytest.mark.parametrize(
    ("agents", "why"),
    [
        ([], "needs at least one"),
        ("", "agent must not be empty"),
        (["helper", "x" * 201], "agent too long"),
        (["a\nb"], "control characters"),
        ([None], "agent must be a string"),
        ([f"agent-{number}" for number in range(101)], "Too many agents: 101"),
    ],
)
def test_an_invalid_limit_to_agents_creates_no_key(hk: Harken, agents: Iterable[str], why: str) -> None:
    """In particular, an empty list must not make a key for all agents."""
    with pytest.raises(KeyRejected, match=why):
        hk.keys.create(APP, ["read"], agents=agents)
    assert not hk.keys.keys()


def test_a_key_has_its_agents(hk: Harken) -> None:
    """A key is for those agents, without duplicates, or for all; a single name is one agent."""
    made = [hk.keys.create(APP, ["read"], agents=agents) for agents in (["b", "a", "b"], "helper", None)]
    known = [hk.keys.authenticate(one.text).agents for one in made]
    assert known == [{"a", "b"}, {"helper"}, None]


def _with_secrets(secrets: Iterable[bytes]) -> Harken:
    """A Harken with these secrets, one after another, repeated to the requested length."""
    given = iter(secrets)
    container = harken.create_container(Settings())
    container.storage.override(Object(reference_storage()))
    container.new_secret.override(Object(lambda size: next(given) * size))
    return harken.open_harken(container)


def test_a_taken_id_is_drawn_again() -> None:
    """Two keys never share an id, even if the random source repeats it."""
    with _with_secrets([b"\x01", b"s", b"\x01", b"t", b"\x02", b"u"]) as hk:
        first, second = hk.keys.create(APP, ["read"]), hk.keys.create(APP, ["read"])
        assert [first.key.id, second.key.id] == ["01" * 8, "02" * 8]
        assert hk.keys.authenticate(first.text) == first.key
        assert hk.keys.authenticate(second.text) == second.key


def test_constant_secrets_are_refused() -> None:
    """A random source that is not random is a configuration error, and does not cause an endless loop."""
    with _with_secrets([b"x"] * 100) as hk:
        hk.keys.create(APP, ["read"])
        with pytest.raises(harken.ConfigurationError, match="it must return random bytes"):
            hk.keys.create(APP, ["read"])


# --- Floods -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the storage was queried for one key, and for all."""
    calls: Counter[str] = Counter()
    repository = hk.keys._repository  # the storage's own: what counts is how often it is asked

    def counting(name: str) -> Callable[..., Any]:
        method = getattr(repository, name)

        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return method(*arguments)

        return call

    for name in ("get", "keys"):
        monkeypatch.setattr(repository, name, counting(name))
    return calls


def flood(hk: Harken, times: int) -> None:
    """Authenticate that many invalid keys."""
    for number in range(times):
        refused(hk, f"hk_{number:016x}_{'A' * 43}")


def test_a_flood_of_invalid_keys_causes_few_queries(
    hk: Harken, made: NewKey, clock: ManualClock, counted: Counter[str]
) -> None:
    """During a flood, invalid keys are recognised with one list, and valid ones are still looked up."""
    flood(hk, 10 * MAX_FAILURES)
    assert counted == {"get": MAX_FAILURES, "keys": 1}
    assert hk.keys.authenticate(made.text) == made.key
    assert counted == {"get": MAX_FAILURES + 1, "keys": 1}
    clock.turn(seconds=FLOOD.total_seconds())
    flood(hk, 10 * MAX_FAILURES)
    assert counted == {"get": 2 * MAX_FAILURES + 1, "keys": 2}


def test_valid_keys_are_not_affected_by_a_flood(hk: Harken, made: NewKey, clock: ManualClock) -> None:
    """During a flood, valid keys and new ones are accepted; wrong secrets and revoked keys are not."""
    flood(hk, 2 * MAX_FAILURES)
    new = hk.keys.create(APP, ["read"])
    assert [hk.keys.authenticate(one.text) for one in (made, new)] == [made.key, new.key]
    assert refused(hk, f"hk_{made.key.id}_{'A' * 43}") == REFUSED
    hk.keys.revoke(made.key.id)
    assert refused(hk, made.text) == REFUSED


def test_a_key_created_elsewhere_is_accepted_within_a_second_of_a_flood(tmp_path: Path, clock: ManualClock) -> None:
    """The list is not used for longer than that."""
    with (
        harken.connect(f"sqlite:///{tmp_path}/f.db", clock=clock) as hk,
        harken.connect(f"sqlite:///{tmp_path}/f.db", clock=clock) as elsewhere,
    ):
        flood(hk, 2 * MAX_FAILURES)
        new = elsewhere.keys.create(APP, ["read"])
        clock.turn(seconds=FLOOD.total_seconds())
        assert hk.keys.authenticate(new.text) == new.key


def test_valid_keys_do_not_count_as_failures(hk: Harken, made: NewKey, counted: Counter[str]) -> None:
    """Valid keys are always looked up, and do not cause a list."""
    for _ in range(2 * MAX_FAILURES):
        hk.keys.authenticate(made.text)
    assert counted == {"get": 2 * MAX_FAILURES}


class TestLastUse:
    """When a key was last used, to the hour."""

    def test_a_used_key_says_when(self, hk: Harken, clock: ManualClock, made: NewKey) -> None:
        """The first use of each hour is recorded, in the list and in the answer to a revocation."""
        other = hk.keys.create("other", ["read"])
        assert last_uses(hk) == {made.key.id: None, other.key.id: None}
        hk.keys.authenticate(made.text)
        eventually(lambda: last_uses(hk) == {made.key.id: NOON, other.key.id: None})
        clock.turn(minutes=59)
        hk.keys.authenticate(made.text)
        clock.turn(minutes=1)
        hk.keys.authenticate(made.text)
        eventually(lambda: last_uses(hk)[made.key.id] == NOON + timedelta(hours=1))
        assert hk.keys.revoke(made.key.id).last_used_at == NOON + timedelta(hours=1)
        assert [key.id for key in hk.keys.keys("other")] == [other.key.id]

    def test_a_refused_key_is_not_used(self, hk: Harken, made: NewKey) -> None:
        """Neither an unknown nor a revoked key is recorded, so that invalid keys store nothing."""
        revoked = hk.keys.create(APP, ["read"])
        hk.keys.revoke(revoked.key.id)
        for text in (revoked.text, f"hk_{'0' * 16}_x", f"{made.text}x"):
            refused(hk, text)
        hk.keys.authenticate(made.text)
        eventually(lambda: last_uses(hk)[made.key.id] == NOON)
        assert last_uses(hk) == {made.key.id: NOON, revoked.key.id: None}

    def test_processes_record_an_hour_once(self, clock: ManualClock) -> None:
        """Another process that uses the key in the same hour changes nothing; an hour after the record, it does."""
        storage = reference_storage()
        with harken.connect(storage, clock=clock) as one, harken.connect(storage, clock=clock) as other:
            made = one.keys.create(APP, ["read"])
            one.keys.authenticate(made.text)
            eventually(lambda: last_uses(one)[made.key.id] == NOON)
            clock.turn(minutes=59)
            other.keys.authenticate(made.text)
            clock.turn(minutes=1)
            eventually(lambda: other.keys.authenticate(made.text) and last_uses(one)[made.key.id] != NOON)
            assert last_uses(one)[made.key.id] == NOON + timedelta(hours=1)

    def test_a_storage_that_fails_delays_no_use(self, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """If a use cannot be stored, the key is accepted all the same, and the next use is recorded."""
        storage = reference_storage()
        state = _FailingState(storage.state)
        with harken.connect(evolve(storage, state=state), clock=clock) as hk:
            made = hk.keys.create(APP, ["read"])
            state.fails = True
            assert hk.keys.authenticate(made.text) == made.key
            eventually(lambda: "could not be recorded" in caplog.text)
            state.fails = False
            eventually(lambda: hk.keys.authenticate(made.text) and last_uses(hk)[made.key.id] == NOON)
        assert made.text not in caplog.text

    def test_authentication_waits_for_no_write(self, clock: ManualClock) -> None:
        """While the storage of state entries hangs, keys are authenticated."""
        storage = reference_storage()
        state = _FailingState(storage.state)
        with harken.connect(evolve(storage, state=state), clock=clock) as hk:
            made = hk.keys.create(APP, ["read"])
            with state.hanging:
                started = monotonic()
                assert hk.keys.authenticate(made.text) == made.key
                assert monotonic() - started < PATIENCE / 4
            eventually(lambda: last_uses(hk)[made.key.id] == NOON)

    def test_a_forked_process_records_uses(self, hk: Harken, made: NewKey) -> None:
        """A worker that was forked from a parent in use records uses in threads of its own."""
        hk.keys.authenticate(hk.keys.create(APP, ["read"]).text)
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            return
        status = 1
        try:
            hk.keys.authenticate(made.text)
            eventually(lambda: last_uses(hk)[made.key.id] == NOON)
            status = 0
        finally:
            os._exit(status)


class _FailingState(StateRepository):
    """State entries that cannot be read while ``fails``, nor while the lock ``hanging`` is held."""

    def __init__(self, inner: StateRepository) -> None:
        self._inner = inner
        self.fails = False
        self.hanging = Lock()

    def all(self, kind: str) -> Sequence[StateEntry]:
        return self._inner.all(kind)

    def get(self, kind: str, name: str) -> StateEntry | None:
        if self.fails:
            raise StorageUnavailable("The storage is away")
        if not self.hanging.acquire(timeout=PATIENCE / 4):
            raise StorageUnavailable("The storage hangs")
        self.hanging.release()
        return self._inner.get(kind, name)

    def put(self, kind: str, entry: StateEntry) -> bool:
        return self._inner.put(kind, entry)

    def delete(self, kind: str, name: str) -> bool:
        return self._inner.delete(kind, name)


def last_uses(hk: Harken) -> dict[str, datetime | None]:
    """When each key was last used, by id."""
    found = hk.keys.keys()
    return {key.id: key.last_used_at for key in found}
