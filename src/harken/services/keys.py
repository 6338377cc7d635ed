"""API keys: making, listing and revoking them, and telling whose a text is."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from attrs import field, frozen

from harken.domain.access import ApiKey, Scope
from harken.domain.errors import ConfigurationError, InvalidCredentials, KeyNotFound, KeyRejected
from harken.domain.rules import label_problem, text_problem
from harken.ports.keys import KeyRepository, NewSecret
from harken.ports.time import Clock

_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
#: Nothing else is looked up, so that what a stranger sends reaches no storage unless it could be a key.
_SHAPE: Final = re.compile(r"hk_([0-9a-f]{1,64})_[A-Za-z0-9_-]{1,256}")
#: How often an id is drawn; that even one of them is taken happens to nobody.
_TRIES: Final = 10
_REFUSED: Final = "This API key is not valid: it is unknown, incomplete or revoked; ask for a new one"


@frozen
class NewKey:
    """A key that was just made, and its text, which is told now and never again."""

    key: ApiKey
    text: str = field(repr=False)


class KeyService:
    """Makes API keys, lists and revokes them, and recognises them by their text.

    A text is ``hk_<id>_<secret>``. Only its digest is stored: the secret is random and long, so that nobody can find
    it from the digest, and a slow hash would add nothing.
    """

    def __init__(self, repository: KeyRepository, *, clock: Clock, new_secret: NewSecret) -> None:
        self._repository = repository
        self._clock = clock
        self._new_secret = new_secret

    def create(self, application: str, scopes: Iterable[Scope | str], *, name: str = "") -> NewKey:
        """A new key for an application; on return it is durable.

        Args:
            application: the only one whose feedback it gives access to.
            scopes: what it lets its holder do, at least one.
            name: what people call it, such as ``"web backend"``.

        Raises:
            KeyRejected: there is no scope, or one that is none, or no storage could keep the application or the name.
            StorageError: it could not be stored.
        """
        wanted = _known(scopes)
        _check(application, name)
        for _ in range(_TRIES):
            made = self._made(application, wanted, name)
            if self._repository.add(made.key):
                return made
        raise ConfigurationError(f"new_secret gave the ids of other keys {_TRIES} times; it must give random bytes")

    def keys(self) -> Sequence[ApiKey]:
        """All keys of all applications, revoked ones too, oldest first."""
        return self._repository.keys()

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key good for nothing, at once and for ever. Revoking it again changes nothing.

        Raises:
            KeyNotFound: there is no key with that id.
        """
        # What no storage could keep, none has.
        unfit = text_problem("key_id", key_id)
        revoked = None if unfit else self._repository.revoke(key_id, at=self._clock())
        if revoked is None:
            raise KeyNotFound(f"There is no API key with the id {key_id!r}; list the keys to find the right one")
        return revoked

    def authenticate(self, text: str) -> ApiKey:
        """The key whose text this is.

        Raises:
            InvalidCredentials: it is no key's, or that of a revoked one; the message does not say which.
        """
        shape = _SHAPE.fullmatch(text)
        key = self._repository.get(shape[1]) if shape else None
        if key is None or not compare_digest(_digest(text), key.digest) or key.revoked:
            raise InvalidCredentials(_REFUSED)
        return key

    def in_use(self) -> bool:
        """Whether a key was ever created, even if all are revoked by now."""
        return bool(self.keys())

    def _made(self, application: str, scopes: frozenset[Scope], name: str) -> NewKey:
        key_id = self._new_secret(_ID_BYTES).hex()
        secret = urlsafe_b64encode(self._new_secret(_SECRET_BYTES)).rstrip(b"=").decode()
        text = f"hk_{key_id}_{secret}"
        key = ApiKey(
            id=key_id,
            application=application,
            scopes=scopes,
            name=name,
            digest=_digest(text),
            created_at=self._clock(),
        )
        return NewKey(key, text)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _known(scopes: Iterable[Scope | str]) -> frozenset[Scope]:
    try:
        known = frozenset(map(Scope.parse, scopes))
    except ValueError as error:
        raise KeyRejected(str(error)) from None
    if not known:
        raise KeyRejected("A key needs at least one scope, or it could do nothing")
    return known


def _check(application: str, name: str) -> None:
    problems = (label_problem("application", application), bool(name) and label_problem("name", name))
    if messages := [problem.message for problem in problems if problem]:
        raise KeyRejected("; ".join(messages))
