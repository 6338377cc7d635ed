"""API keys: creating, listing, revoking and authenticating them."""

from __future__ import annotations

import logging
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from attrs import evolve, field, frozen

from harken.domain.access import ApiKey, Scope
from harken.domain.errors import ConfigurationError, InvalidCredentials, KeyNotFound, KeyRejected, StorageError
from harken.domain.instants import parse_instant
from harken.domain.rules import label_problem
from harken.domain.texts import as_texts
from harken.ports.keys import KeyRepository, NewSecret
from harken.ports.state import StateEntry, StateRepository
from harken.ports.time import Clock
from harken.services.background import Background
from harken.services.forks import ForkSafeLock

logger = logging.getLogger(__name__)

_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
#: The form of a key. Other texts are not looked up, so that arbitrary input does not reach the storage.
_SHAPE: Final = re.compile(r"hk_([0-9a-f]{1,64})_[A-Za-z0-9_-]{1,256}")
#: The id of a key; or a whole key, or a truncated one, which contains the id.
_ID: Final = re.compile(r"([0-9a-f]{1,64})|hk_([0-9a-f]{1,64})(?:_.*)?")
_ID_SHAPE: Final = re.compile(r"[0-9a-f]{1,64}")
#: How many ids are tried; in practice, not even one of them is taken.
_TRIES: Final = 10
#: After this many look-ups of invalid keys within FLOOD, keys are checked against one list of the valid keys until
#: FLOOD has passed. So a flood of invalid keys costs the storage little, from any number of addresses.
MAX_FAILURES: Final = 100
FLOOD: Final = timedelta(seconds=1)
#: The maximum number of agents of a key: more than a team has, and few enough for one request to check.
MAX_AGENTS: Final = 100
_USE: Final = "key_use"
_USED_AT: Final = "at"
#: A use of a key is not recorded this soon after another one.
RESOLUTION: Final = timedelta(hours=1)
_REFUSED: Final = "This API key is not valid: it is unknown, incomplete or revoked; ask for a new one"


@frozen
class NewKey:
    """A new key, and its text, which is not stored and cannot be shown again."""

    key: ApiKey
    text: str = field(repr=False)


class KeyService:
    """Creates, lists, revokes and authenticates API keys.

    The text of a key is ``hk_<id>_<secret>``. Only its digest is stored: the secret is random and long, so it cannot be
    found from the digest, and a slow hash would not add security.
    """

    def __init__(
        self, repository: KeyRepository, state: StateRepository, *, clock: Clock, new_secret: NewSecret
    ) -> None:
        self._repository = repository
        self._uses = _Uses(state, clock=clock)
        self._clock = clock
        self._new_secret = new_secret
        self._lock = ForkSafeLock()
        self._failures = 0
        self._counted_since: datetime | None = None
        # The digests of all valid keys, during a flood.
        self._listed: frozenset[str] | None = None

    def create(
        self,
        application: str,
        scopes: Scope | str | Iterable[Scope | str],
        *,
        name: str = "",
        agents: str | Iterable[str] | None = None,
        key_id: str | None = None,
    ) -> NewKey:
        """Create a key for an application; on return it is durable.

        Args:
            application: the application that it gives access to.
            scopes: what it permits, at least one.
            name: a label such as ``"web backend"``.
            agents: the ids of the agents that it is limited to, at least one; ``None`` for all agents.
            key_id: its id, for a caller that may repeat the call and must not create two keys; hexadecimal digits. By
                default, it is random.

        Raises:
            KeyRejected: there is no scope, or an unknown one, or the list of agents is empty, or the application, the
                name, an agent or the id is invalid, or there is a key with this id.
            StorageError: it could not be stored.
        """
        wanted = _parse_scopes(scopes)
        only = None if agents is None else _parse_agents(agents)
        _check(application, name)
        if key_id is not None and not _ID_SHAPE.fullmatch(key_id):
            raise KeyRejected(f"The id of a key must have 1 to 64 hexadecimal digits; got {key_id[:100]!a}")
        for _ in range(_TRIES if key_id is None else 1):
            new = self._build(application, wanted, name, only, key_id or self._new_secret(_ID_BYTES).hex())
            if self._repository.add(new.key):
                with self._lock:
                    self._listed = None
                return new
        if key_id is not None:
            raise KeyRejected("This key has already been created, and its text cannot be shown again")
        raise ConfigurationError(
            f"new_secret returned the ids of other keys {_TRIES} times; it must return random bytes"
        )

    def keys(self, application: str | None = None) -> Sequence[ApiKey]:
        """All keys of an application, or of all applications; revoked ones too, oldest first.

        ``last_used_at`` of each is exact to an hour: a key may have been used again in the hour after it.
        """
        found, last = self._repository.keys(), self._uses.last()
        return [evolve(key, last_used_at=last.get(key.id)) for key in found if application in (None, key.application)]

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key, immediately and permanently. Revoking it again changes nothing.

        Args:
            key_id: the id of the key, or its text, which contains the id.

        Raises:
            KeyNotFound: there is no key with that id; the message never contains the text of a key.
        """
        found = _ID.fullmatch(key_id.strip())
        if found is None:
            # It may be a part of a key, so the message does not repeat it.
            raise KeyNotFound("This is not the id of an API key, such as '3f9c0a1b2d4e5f60'; list the keys to find it")
        named = found[1] or found[2]
        revoked = self._repository.revoke(named, at=self._clock())
        if revoked is None:
            raise KeyNotFound(f"No API key with id {named!r}; list the keys to find the right one")
        return evolve(revoked, last_used_at=self._uses.last_of(revoked.id))

    def authenticate(self, text: str) -> ApiKey:
        """The key with that text.

        Raises:
            InvalidCredentials: the text is not that of a valid key; the message does not say whether one is revoked.
        """
        shape, digest = _SHAPE.fullmatch(text), _digest(text)
        if shape is None or not self._may_be_valid(digest):
            raise InvalidCredentials(_REFUSED)
        key = self._repository.get(shape[1])
        if key is None or not compare_digest(digest, key.digest) or key.revoked:
            with self._lock:
                self._failures += 1
            raise InvalidCredentials(_REFUSED)
        self.record_use(key)
        return key

    def find(self, key_id: str) -> ApiKey | None:
        """The key with that id, revoked or not; ``None`` if there is none."""
        return self._repository.get(key_id)

    def record_use(self, key: ApiKey) -> None:
        """Record that a key is used now, as :meth:`authenticate` does. Neither waits for the storage nor fails."""
        self._uses.record(key.id)

    def close(self) -> None:
        """Record no more uses of keys."""
        self._uses.close()

    def in_use(self) -> bool:
        """Whether a key was ever created, even if all are revoked now."""
        return bool(self._repository.keys())

    def _may_be_valid(self, digest: str) -> bool:
        """Whether to look the key up: always, unless there were too many invalid keys recently."""
        with self._lock:
            now = self._clock()
            if self._counted_since is None or not timedelta(0) <= now - self._counted_since < FLOOD:
                self._counted_since, self._failures, self._listed = now, 0, None
            if self._failures < MAX_FAILURES:
                return True
            if self._listed is None:
                # Under the lock: other threads wait for this list instead of reading it again.
                stored = self._repository.keys()
                self._listed = frozenset(key.digest for key in stored if not key.revoked)
            return digest in self._listed

    def _build(
        self, application: str, scopes: frozenset[Scope], name: str, agents: frozenset[str] | None, key_id: str
    ) -> NewKey:
        secret = urlsafe_b64encode(self._new_secret(_SECRET_BYTES)).rstrip(b"=").decode()
        text = f"hk_{key_id}_{secret}"
        key = ApiKey(
            id=key_id,
            application=application,
            scopes=scopes,
            name=name,
            digest=_digest(text),
            created_at=self._clock(),
            agents=agents,
        )
        return NewKey(key, text)


class _Uses:
    """Records when keys were last used, at most once an hour for each key, in state entries that processes share.

    Only valid keys are recorded, so there are never more entries than keys.
    """

    def __init__(self, state: StateRepository, *, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = ForkSafeLock()
        # The uses that this process has recorded, or need not.
        self._recorded: dict[str, datetime] = {}
        self._background = _background()
        self._pid = os.getpid()

    def record(self, key_id: str) -> None:
        """Record that a key is used now. Neither waits for the storage nor fails."""
        now = self._clock()
        with self._lock:
            if _is_recent(self._recorded.get(key_id), now):
                return
            self._recorded[key_id] = now
            if os.getpid() != self._pid:
                # The threads of the parent are not there.
                self._background, self._pid = _background(), os.getpid()
            background = self._background
        if not background.soon(partial(self._store, key_id, now)):
            self._forget(key_id)

    def last(self) -> Mapping[str, datetime]:
        """When each key was last used, by id. It may have been used again in the hour after that."""
        return {entry.name: _time_of(entry) for entry in self._state.all(_USE)}

    def last_of(self, key_id: str) -> datetime | None:
        """When that key was last used, if known."""
        entry = self._state.get(_USE, key_id)
        return None if entry is None else _time_of(entry)

    def close(self) -> None:
        """Record nothing more."""
        self._background.close()

    def _store(self, key_id: str, at: datetime) -> None:
        try:
            before = self._state.get(_USE, key_id)
            if before is not None and _is_recent(_time_of(before), at):
                # By another process. An hour after that, the next use is recorded.
                self._recorded[key_id] = _time_of(before)
                return
            # If another process is faster, it has recorded the same hour.
            version = before.version + 1 if before else 1
            self._state.put(_USE, StateEntry(key_id, {_USED_AT: at.isoformat()}, version))
        except StorageError as error:
            logger.warning("The use of the key %s could not be recorded: %s", key_id, error)
            self._forget(key_id)

    def _forget(self, key_id: str) -> None:
        """Record the next use instead."""
        self._recorded.pop(key_id, None)


def _background() -> Background:
    return Background("harken-keys", threads=1)


def _is_recent(before: datetime | None, now: datetime) -> bool:
    return before is not None and abs(now - before) < RESOLUTION


def _time_of(entry: StateEntry) -> datetime:
    return parse_instant(str(entry.value[_USED_AT]))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _parse_scopes(scopes: Scope | str | Iterable[Scope | str]) -> frozenset[Scope]:
    wanted = [scopes] if isinstance(scopes, str | Scope) else scopes
    try:
        known = frozenset(map(Scope.parse, wanted))
    except ValueError as error:
        raise KeyRejected(str(error)) from None
    if not known:
        raise KeyRejected("A key needs at least one scope")
    return known


def _parse_agents(agents: str | Iterable[str]) -> frozenset[str]:
    named = as_texts(agents)
    if problems := [problem.message for agent in named if (problem := label_problem("agent", agent))]:
        raise KeyRejected("; ".join(problems))
    if not named:
        # An empty list is probably a mistake, and must not mean all agents.
        raise KeyRejected("A key that is limited to agents needs at least one; leave agents out for a key for all")
    if len(only := frozenset(named)) > MAX_AGENTS:
        raise KeyRejected(f"Too many agents: {len(only)} (max: {MAX_AGENTS}); make another key, or one for all agents")
    return only


def _check(application: str, name: str) -> None:
    problems = (label_problem("application", application), bool(name) and label_problem("name", name))
    if messages := [problem.message for problem in problems if problem]:
        raise KeyRejected("; ".join(messages))
