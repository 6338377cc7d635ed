"""Browser sessions: who is signed in, in a signed cookie that all processes on a storage accept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from secrets import token_urlsafe
from typing import Any, Final

from attrs import evolve, field, frozen

from harken.domain.instants import EPOCH
from harken.ports.state import StateEntry, StateRepository, update
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.guards.cookies import MAX_COOKIE, find_cookie
from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.tokens.signing import Signer

#: How long a session lasts, unless it is extended.
LIFETIME: Final = timedelta(hours=12)
#: How long after signing in a session can be extended to.
LONGEST: Final = timedelta(hours=24)
MAX_NAME: Final = 100
#: The kind of the stored state: the secret, and what each owner has ended.
_KIND: Final = "browser_sessions"
#: The name of the entry with the secret. No owner has it, see :attr:`BrowserSession.owner`.
_SIGNING: Final = "signing"
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 9
#: How many single sessions of one owner are remembered as ended. With more, all sessions of the owner end.
_MAX_ENDED: Final = 200
#: The start of the cookie's name. The rest depends on the secret, so that services on one host name, whose ports
#: browsers do not distinguish, do not overwrite each other's cookies.
COOKIE: Final = "harken_session_"
_SECOND: Final = timedelta(seconds=1)


@frozen
class Person:
    """A person who signed in with OpenID Connect.

    Attributes:
        issuer: the provider.
        subject: a digest of the provider's id of the person.
        name: their name.
        groups: their groups, as far as they grant something.
    """

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, issuer: str, subject: str, name: str, groups: tuple[str, ...]) -> Person:
        """A person by the provider's own id, which is not kept."""
        digest = blake2b(f"{issuer}\0{subject}".encode(errors="surrogatepass"), digest_size=16).hexdigest()
        shown = "".join(one for one in name if one.isprintable()).strip()[:MAX_NAME]
        return cls(issuer, digest, shown or "unknown", groups)


@frozen(kw_only=True)
class BrowserSession:
    """What the cookie says.

    Attributes:
        id: the id of the session.
        key_id: the API key with which the browser signed in.
        person: the person who signed in; either this or ``key_id`` is ``None``.
        generation: how often all sessions of the owner had been ended when it began.
        signed_in_at: when it began, in UTC.
        expires_at: when it ends, in UTC.
    """

    id: str
    key_id: str | None = None
    person: Person | None = None
    generation: int = 0
    signed_in_at: datetime
    expires_at: datetime

    @property
    def owner(self) -> str:
        """The id of the API key, or of the person."""
        return self.key_id or f"person-{self.person.subject if self.person else ''}"

    @property
    def can_extend(self) -> bool:
        """Whether the session can be made longer than it is."""
        return self.expires_at < self.signed_in_at + LONGEST


@frozen
class _Ended:
    """What an owner has ended: all sessions of earlier generations, and single ones by id, with their expiry."""

    generation: int = 0
    single: Mapping[str, int] = field(factory=dict)

    def ends(self, session: BrowserSession) -> bool:
        return session.generation < self.generation or session.id in self.single

    def with_all(self) -> _Ended:
        return _Ended(self.generation + 1)

    def with_one(self, session: BrowserSession, now: datetime) -> _Ended:
        live = {name: end for name, end in self.single.items() if end > _seconds(now)}
        live[session.id] = _seconds(session.signed_in_at + LONGEST)
        return self.with_all() if len(live) > _MAX_ENDED else evolve(self, single=live)


class BrowserSessions:
    """Creates, reads and ends browser sessions.

    The cookie is signed with a secret of the storage, which the first use creates. ``token_secrets`` are not used:
    backends that mint session tokens for visitors have them, and must not be able to sign in as an operator.

    Thread-safe.

    Args:
        state: has the secret, and what was ended.
        clock: returns the current time in UTC.
    """

    def __init__(self, state: StateRepository, *, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = ForkSafeLock()
        self._secret: str | None = None
        self._signer: Signer | None = None
        #: The name of the cookie; empty before the secret is loaded.
        self.cookie = ""

    def cookie_soon(self, request: Request) -> str | None:
        """The cookie of a request, without reading the storage.

        Returns:
            ``None`` if the request has one that may be of this storage, but the secret is not loaded; empty if it has
            none.
        """
        if COOKIE not in (request.header("cookie") or ""):
            return ""
        return (find_cookie(request, self.cookie) or "") if self.cookie else None

    def load(self) -> None:
        """Load the secret, or create it. Reads from the storage the first time.

        Raises:
            StorageError: the storage failed.
        """
        self._load()

    def begin(self, *, key_id: str | None = None, person: Person | None = None) -> tuple[BrowserSession, str]:
        """A new session of an API key or a person, and the value of its cookie. Reads from the storage.

        Raises:
            InvalidClaims: the groups of the person do not fit into a cookie.
            StorageError: the storage failed.
        """
        now = self._clock()
        new = BrowserSession(
            id=token_urlsafe(_ID_BYTES), key_id=key_id, person=person, signed_in_at=now, expires_at=now
        )
        return self._sign(evolve(new, generation=self._ended(new.owner).generation))

    def extend(self, session: BrowserSession) -> tuple[BrowserSession, str]:
        """A session that ends :data:`LIFETIME` from now, but not later than :data:`LONGEST` after signing in.

        Raises:
            InvalidClaims: the time for extensions is over.
            StorageError: the storage failed.
        """
        return self._sign(session)

    def read(self, text: str) -> BrowserSession:
        """Verify the value of a cookie. Whether the session was ended is not checked, see :meth:`is_ended`.

        Raises:
            ExpiredToken: the session has expired.
            InvalidToken: the cookie is malformed, or has an invalid signature or claim.
            StorageError: the storage failed.
        """
        signer = self._load()
        claims = signer.verify(text)
        person = None
        if "sub" in claims:
            person = Person(claims["iss"], claims["sub"], claims["name"], tuple(claims["groups"]))
        return BrowserSession(
            id=claims["sid"],
            key_id=claims.get("key"),
            person=person,
            generation=claims["gen"],
            signed_in_at=signer.moment(claims, "auth_time"),
            expires_at=signer.moment(claims, "exp"),
        )

    def is_ended(self, session: BrowserSession) -> bool:
        """Whether someone signed out of the session, or of all sessions of its owner. Reads from the storage."""
        return self._ended(session.owner).ends(session)

    def end(self, session: BrowserSession) -> None:
        """End a session, in all processes and for all copies of the cookie.

        Raises:
            StorageError: the storage failed.
        """
        self._change(session.owner, lambda ended: ended.with_one(session, self._clock()))

    def end_all(self, session: BrowserSession) -> None:
        """End all sessions of the same API key or person.

        Raises:
            StorageError: the storage failed.
        """
        self._change(session.owner, _Ended.with_all)

    def signer_of(self, **options: Any) -> Signer:
        """A signer of other tokens that only this service reads. The options are those of :class:`Signer`.

        Raises:
            StorageError: the storage failed.
        """
        self._load()
        return Signer([self._secret or ""], clock=self._clock, **options)

    def _sign(self, session: BrowserSession) -> tuple[BrowserSession, str]:
        signer, now = self._load(), self._clock()
        lifetime = min(LIFETIME, session.signed_in_at + LONGEST - now)
        claims: dict[str, object] = {
            "sid": session.id,
            "gen": session.generation,
            "auth_time": _seconds(session.signed_in_at),
        }
        if session.key_id is not None:
            claims["key"] = session.key_id
        if (person := session.person) is not None:
            claims |= {"iss": person.issuer, "sub": person.subject, "name": person.name, "groups": list(person.groups)}
        return evolve(session, expires_at=now + lifetime), signer.sign(claims, lifetime)

    def _load(self) -> Signer:
        with self._lock:
            if self._signer is None:
                secret = self._stored_secret()
                self._signer = Signer(
                    [secret],
                    what="browser session",
                    audience="harken-browser",
                    longest=MAX_COOKIE,
                    required=("sid", "gen", "auth_time"),
                    # They are signed with a secret that nobody else has.
                    check=lambda _: (),
                    clock=self._clock,
                )
                self._secret = secret
                digest = blake2b(secret.encode(), digest_size=4, person=b"harken-cookie").hexdigest()
                self.cookie = f"{COOKIE}{digest}"
            return self._signer

    def _stored_secret(self) -> str:
        while (entry := self._state.get(_KIND, _SIGNING)) is None:
            # If another process creates one at the same time, one of them is stored.
            self._state.put(_KIND, StateEntry(_SIGNING, {"secret": token_urlsafe(_SECRET_BYTES)}))
        return str(entry.value["secret"])

    def _ended(self, owner: str) -> _Ended:
        """What an owner has ended."""
        return _decode(self._state.get(_KIND, owner))

    def _change(self, owner: str, change: Callable[[_Ended], _Ended]) -> None:
        update(self._state, _KIND, owner, lambda stored: _encode(change(_decode(stored))))


def _decode(entry: StateEntry | None) -> _Ended:
    if entry is None:
        return _Ended()
    value: Any = entry.value
    return _Ended(value["generation"], value["single"])


def _encode(ended: _Ended) -> Mapping[str, Any]:
    return {"generation": ended.generation, "single": dict(ended.single)}


def _seconds(moment: datetime) -> int:
    return (moment - EPOCH) // _SECOND
