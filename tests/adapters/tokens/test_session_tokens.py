"""Session tokens."""

import base64
import hmac
import json
import string
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import jwt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harken.domain.errors import ConfigurationError
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.rules import MAX_ID_LENGTH, label_problem
from harken.testing import strategies as hst
from harken_adapters.hosts import django, flask
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.tokens import FeedbackLinks, InvalidClaims, InvalidToken, SessionToken, SessionTokens
from harken_adapters.tokens.session_tokens import AUDIENCE, MAX_ORIGIN_LENGTH, MAX_TOKEN_LENGTH
from support import NOON, ManualClock

SECRET = "correct horse battery staple, thirty-two and more"
OTHER = "another secret that is just as long as the first one"
SIGNS = string.ascii_letters + string.digits + "-_.=+/ \n\x00é"

ids = st.text(min_size=1, max_size=MAX_ID_LENGTH).filter(lambda text: label_problem("id", text) is None)
origins = st.from_regex(r"(https|capacitor)://[a-z0-9._-]{1,250}(:8[0-9]{3})?", fullmatch=True)
contents = st.fixed_dictionaries(
    {
        "session_id": ids,
        "application": ids,
        "author": ids | st.none(),
        "origin": origins | st.none(),
        "agent": st.text("aé-", min_size=1) | st.none(),
        "context": st.none() | hst.contexts(),
    }
)
lifetimes = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=40_000))
moments = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)).map(lambda later: NOON + later)


def tokens(*secrets: str, clock: ManualClock | None = None) -> SessionTokens:
    """A minter and verifier of tokens, at noon."""
    return SessionTokens(secrets or (SECRET,), clock=clock or ManualClock())


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a valid token, with changes; a claim set to ``...`` is left out."""
    exp = int(NOON.timestamp()) + 60
    payload = {"aud": AUDIENCE, "exp": exp, "application": "shop", "session": "s-1", **changes}
    return {name: value for name, value in payload.items() if value is not ...}


def signed(payload: object, secret: str = SECRET, **header: Any) -> str:
    """A token as created without a library."""
    text = ".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT", **header}, payload))
    return f"{text}.{_part(hmac.digest(secret.encode(), text.encode(), sha256))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def refusal(text: str, *secrets: str) -> str:
    """The error message for a rejected token."""
    with pytest.raises(InvalidToken) as caught:
        tokens(*secrets).read(text)
    return str(caught.value)


class TestMinting:
    @given(contents, lifetimes, moments)
    def test_what_is_minted_is_read(self, content: dict[str, Any], lifetime: timedelta, now: datetime) -> None:
        """A token has the fields with which it was minted, and its expiry time is rounded up to a second."""
        ours = tokens(clock=ManualClock(now))
        read = ours.read(ours.mint(**content, lifetime=lifetime))
        assert read == SessionToken(**content, expires_at=read.expires_at)
        assert timedelta(0) <= read.expires_at - (now + lifetime) < timedelta(seconds=1)
        assert read.expires_at.microsecond == 0

    def test_ends_when_it_says(self) -> None:
        """A token is valid until its expiry time, exclusively."""
        clock = ManualClock()
        ours = tokens(clock=clock)
        text = ours.mint(session_id="s", lifetime=timedelta(minutes=5))
        clock.turn(minutes=5, microseconds=-1)
        assert ours.read(text).session_id == "s"
        clock.turn(microseconds=1)
        with pytest.raises(InvalidToken, match="has expired"):
            ours.read(text)

    def test_any_library_reads_it(self) -> None:
        """The claims have their standard names, and the header identifies the secret by a digest."""
        text = tokens().mint(
            session_id="s",
            author="ann",
            origin="https://shop.example",
            agent="helper",
            context={"tier": "pro"},
            lifetime=timedelta(seconds=9),
        )
        payload = jwt.decode(text, SECRET, algorithms=["HS256"], audience=AUDIENCE, options={"verify_exp": False})
        assert payload.pop("exp") == payload.pop("iat") + 9
        assert payload == {
            "aud": AUDIENCE,
            "sub": "ann",
            "session": "s",
            "application": DEFAULT_APPLICATION,
            "origin": "https://shop.example",
            "agent": "helper",
            "context": {"tier": "pro"},
        }
        assert SECRET not in repr(jwt.get_unverified_header(text))

    @pytest.mark.parametrize(
        ("parts", "says"),
        [
            ({"session_id": ""}, "session_id .* must not be empty"),
            ({"session_id": None}, "session_id .* must be a string, got NoneType"),
            ({"session_id": "s", "author": "a" * 201}, "author .* too long"),
            ({"session_id": "s", "application": "a\nb"}, "application must not contain control characters"),
            ({"session_id": "s", "origin": "o" * 301}, "origin too long"),
            ({"session_id": "s", "origin": "shop.example"}, "origin is 'shop.example'; expected an origin such as"),
            ({"session_id": "s", "origin": "https://shop.example/"}, "without a path"),
            ({"session_id": "s", "origin": "https://Shop.example"}, "in lower case"),
            ({"session_id": "s", "origin": "https://shop.example:443"}, "leave out :443"),
            ({"session_id": "s", "origin": "\U0001f600" * 300}, "expected an origin such as"),
            ({"session_id": "s", "lifetime": 30}, "lifetime must be a timedelta, such as .*, got 30"),
            ({"session_id": "s", "lifetime": None}, "lifetime must be a timedelta"),
            ({"session_id": "s", "lifetime": timedelta(0)}, "lifetime must be more than zero"),
            ({"session_id": "s", "lifetime": timedelta(days=-1)}, "lifetime must be more than zero"),
            ({"session_id": "s", "lifetime": timedelta.max}, "after the year 9999"),
            ({"session_id": "s", "agent": ""}, "agent must not be empty"),
            ({"session_id": "s", "context": {"a.b": 1}}, "context name 'a.b' may only have"),
            ({"session_id": "s", "context": {"a": [1]}}, "context.a must be a string, a number"),
            ({"session_id": "s", "context": "tier"}, "context must map names to values"),
            ({"session_id": "s", "context": {f"a{n}": "x" * 1_000 for n in range(20)}}, "less context"),
        ],
    )
    def test_rejects_invalid_claims(self, parts: dict[str, Any], says: str) -> None:
        """An invalid value is rejected, and the message says what was expected."""
        with pytest.raises(InvalidClaims, match=says):
            tokens().mint(**parts)

    def test_lists_all_problems(self) -> None:
        """The message lists the problems of all values, not only the first one."""
        invalid: dict[str, Any] = {
            "session_id": "",
            "author": 7,
            "origin": "HTTP://shop/",
            "agent": "",
            "context": {"a.b": 1},
            "application": "",
            "lifetime": timedelta(0),
        }
        with pytest.raises(InvalidClaims) as caught:
            tokens().mint(**invalid)
        for name in invalid:
            assert name in str(caught.value)

    def test_rejects_an_end_after_the_last_year(self) -> None:
        """An expiry time at the end of the last year is not rounded up beyond it."""
        last = NOON.replace(year=9999, month=12, day=31, hour=23, minute=59, second=59)
        with pytest.raises(InvalidClaims, match="after the year 9999"):
            tokens(clock=ManualClock(last)).mint(session_id="s", lifetime=timedelta(microseconds=1))


class TestReading:
    @given(st.data())
    def test_any_change_is_refused(self, data: st.DataObject) -> None:
        """A token with any character changed, added or removed is rejected."""
        text = tokens().mint(session_id="session", author="ann")
        place = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, min(2, len(text) - place)))
        changed = text[:place] + data.draw(st.text(SIGNS, max_size=2)) + text[place + cut :]
        assume(changed != text)
        assert changed not in refusal(changed)

    def test_every_character_counts(self) -> None:
        """No character can be replaced, not even the last one, which has unused bits."""
        text = tokens().mint(session_id="s")
        for place, sign in enumerate(text):
            other = chr(ord(sign) + 1)
            assert refusal(text[:place] + other + text[place + 1 :])

    @given(st.text() | st.text(string.ascii_letters + "._-", max_size=100) | st.binary().map(_part))
    def test_any_other_text_is_rejected(self, text: str) -> None:
        """For any text, the only error is ``InvalidToken``."""
        assert refusal(text)
        assert refusal(f"{_part(text.encode(errors='replace'))}.{text}.{_part(b'x' * 32)}")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "a JSON Web Token with three parts"),
            ("Bearer a.b.c", "a JSON Web Token with three parts"),
            ("a.b", "a JSON Web Token with three parts"),
            ("a.b.c.d", "a JSON Web Token with three parts"),
            (f"a.b.{'A' * 43}", "expected the header"),
            (f"{_part(b'{')}.b.{'A' * 43}", "expected the header"),
            (f"{_part(b'[]')}.b.{'A' * 43}", "expected the header"),
            (f"{_part(b'{}')}.b.{'A' * 43}", "is not signed"),
            (f"{_part(b'{}')}.b.", "is not signed"),
        ],
    )
    def test_says_what_is_wrong_with_a_text(self, text: str, says: str) -> None:
        """The error for other text says what was expected."""
        assert says in refusal(text)

    def test_one_from_elsewhere_is_read(self) -> None:
        """Tokens of other implementations need no ``kid`` and may have several audiences and fractions of seconds."""
        exp = NOON.timestamp() + 0.5
        read = tokens(OTHER, SECRET).read(signed(claims(aud=["other", AUDIENCE], exp=exp, sub="ann", iat="whenever")))
        assert read == SessionToken(
            application="shop",
            session_id="s-1",
            author="ann",
            origin=None,
            expires_at=NOON + timedelta(seconds=0.5),
        )

    def test_begins_when_it_says(self) -> None:
        """A token is valid from ``nbf`` on."""
        clock = ManualClock()
        text = signed(claims(nbf=int(NOON.timestamp()) + 30))
        clock.turn(seconds=30, microseconds=-1)
        with pytest.raises(InvalidToken, match="is not valid yet"):
            tokens(clock=clock).read(text)
        clock.turn(microseconds=1)
        assert tokens(clock=clock).read(text).session_id == "s-1"

    @pytest.mark.parametrize(
        ("payload", "says"),
        [
            (claims(aud=f"not-{AUDIENCE}"), "The audience of the session token is not"),
            (claims(aud=f"{AUDIENCE}.example"), "The audience of the session token is not"),
            (claims(aud=[f"{AUDIENCE}s", f"my {AUDIENCE}"]), "The audience of the session token is not"),
            (claims(aud=AUDIENCE.upper()), "The audience of the session token is not"),
            (claims(exp=...), "lacks the claims: exp"),
            (claims(session=..., aud=...), "lacks the claims: aud, session"),
            (claims(application=...), "lacks the claims: application"),
            (claims(aud="another"), "The audience of the session token is not"),
            (claims(aud=f"{AUDIENCE}-2"), "The audience of the session token is not"),
            (claims(aud=AUDIENCE.capitalize()), "The audience of the session token is not"),
            (claims(aud=f"{AUDIENCE} "), "The audience of the session token is not"),
            (claims(aud=AUDIENCE[:-1]), "The audience of the session token is not"),
            (claims(aud=[f"{AUDIENCE}-2", f"not-{AUDIENCE}", [AUDIENCE]]), "The audience of the session token is not"),
            (claims(aud=[]), "The audience of the session token is not"),
            (claims(aud=None), "The audience of the session token is not"),
            (claims(aud={AUDIENCE: 1}), "The audience of the session token is not"),
            (claims(exp=int(NOON.timestamp())), "has expired"),
            (claims(exp=-(10**9)), "has expired"),
            (claims(exp="2030-01-01"), "exp must be a number, got str"),
            (claims(exp=True), "exp must be a number, got bool"),
            (claims(exp=None), "exp must be a number, got NoneType"),
            (claims(exp=10**12), "exp is not in the years 1 to 9999"),
            (claims(exp=10**400), "exp is not in the years 1 to 9999"),
            (claims(exp=float("inf")), "exp is not in the years 1 to 9999"),
            (claims(exp=float("nan")), "exp is not in the years 1 to 9999"),
            (claims(nbf=int(NOON.timestamp()) + 1), "is not valid yet"),
            (claims(nbf="soon"), "nbf must be a number"),
            (claims(session=7), "must be a string, got int"),
            (claims(session=""), "must not be empty"),
            (claims(session="s" * 201), "too long"),
            (claims(application=["shop"]), "application must be a string, got list"),
            (claims(sub=None), "must be a string, got NoneType"),
            (claims(agent=None), "agent must be a string, got NoneType"),
            (claims(agent="a\nb"), "agent must not contain control characters"),
            (claims(context=None), "context must map names to values, got NoneType"),
            (claims(context=["tier"]), "context must map names to values, got list"),
            (claims(context={"tier": {"name": "pro"}}), "context.tier must be a string, a number"),
            (claims(context={"seats": 2**64}), "context.seats must fit into 64 bits"),
            (claims(context={"seats": float("inf")}), "context.seats must be finite"),
            (claims(context={f"a{n}": n for n in range(51)}), "Too many context keys"),
            (claims(sub="a\x00b"), "control characters"),
            (claims(sub="\ud800"), "lone surrogate"),
            (claims(origin={}), "origin must be a string, got dict"),
            (claims(origin="https://Shop.example"), "origin is 'https://Shop.example'; expected an origin such as"),
            ([claims()], "expected the claims to be a JSON object"),
            ("text", "expected the claims to be a JSON object"),
        ],
    )
    def test_rejects_invalid_claims(self, payload: object, says: str) -> None:
        """A signed token must also have valid claims."""
        assert says in refusal(signed(payload))

    @pytest.mark.parametrize("depth", [10, 5_000])
    def test_claims_that_are_nested_too_deeply(self, depth: int) -> None:
        """JSON that is nested too deeply is not a JSON object."""
        text = ".".join(_part(part) for part in (b'{"alg":"HS256"}', b"[" * depth + b"]" * depth))
        signature = hmac.digest(SECRET.encode(), text.encode(), sha256)
        assert "expected the claims" in refusal(f"{text}.{_part(signature)}")

    @pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512", "RS256", "hs256", "", None, 7, ["HS256"]])
    def test_only_one_algorithm_is_accepted(self, algorithm: object) -> None:
        """The header cannot choose the algorithm."""
        text = signed(claims(), alg=algorithm)
        assert "is not signed" in refusal(text)
        assert "is not signed" in refusal(text[: text.rindex(".") + 1])

    @pytest.mark.parametrize("made", ["HS384", "HS512"])
    def test_other_algorithms_are_rejected(self, made: str) -> None:
        """A valid signature of another algorithm with our secret is rejected."""
        assert "is not signed" in refusal(jwt.encode(claims(), SECRET.ljust(64), algorithm=made), SECRET.ljust(64))

    @pytest.mark.parametrize("header", [{"crit": ["b64"], "b64": False}, {"crit": ["new"], "new": 1}, {"crit": []}])
    def test_critical_headers_are_rejected(self, header: dict[str, Any]) -> None:
        """A token with an unsupported critical header is rejected."""
        assert "is not signed" in refusal(signed(claims(), **header))

    def test_a_huge_token_is_not_parsed(self) -> None:
        """A huge token is rejected without parsing."""
        assert "longer than" in refusal("a" * 1_000_000)
        assert "longer than" in refusal(signed(claims(padding="x" * 1_000_000)))

    def test_the_longest_ids_fit(self) -> None:
        """The maximum length accepts every token that can be minted, in any script."""
        longest = "\U0001f600" * MAX_ID_LENGTH
        origin = "https://".ljust(MAX_ORIGIN_LENGTH, "x")
        text = tokens().mint(session_id=longest, author=longest, application=longest, origin=origin)
        assert len(text) <= MAX_TOKEN_LENGTH
        assert tokens().read(text).origin == origin


class TestSecrets:
    def test_rotation(self) -> None:
        """The first secret signs and all verify; a removed secret is no longer accepted."""
        before = tokens(SECRET).mint(session_id="before")
        after = tokens(OTHER, SECRET).mint(session_id="after")
        for ours in (tokens(OTHER, SECRET), tokens(SECRET, OTHER)):
            assert (ours.read(before).session_id, ours.read(after).session_id) == ("before", "after")
        assert "is not signed" in refusal(before, OTHER)
        assert "is not signed" in refusal(after, SECRET)

    @pytest.mark.parametrize("key_id", ["unknown", "", 7, None, ["a"], {}])
    def test_an_unknown_key_id(self, key_id: object) -> None:
        """A token with an unknown ``kid`` is rejected, even if a known secret would verify it."""
        assert "is not signed" in refusal(signed(claims(), kid=key_id))

    @pytest.mark.parametrize(
        ("secrets", "says"),
        [
            ([], "one or more"),
            (SECRET, "a list of one or more secrets"),
            (["tooshort"], "secret 1 is too short: 8 bytes, expected 32"),
            ([SECRET, "x" * 31], "secret 2 is too short: 31 bytes"),
            ([SECRET, ""], "secret 2 is too short"),
            ([b"x" * 40], "secret 1 must be a string, got bytes"),
            (["\udcff" * 40], "lone surrogate"),
            ([f"-----BEGIN PUBLIC KEY-----\n{'A' * 64}\n-----END PUBLIC KEY-----"], "looks like a public"),
        ],
    )
    def test_weak_secrets_are_rejected(self, secrets: Any, says: str) -> None:
        """An invalid or guessable secret is an error on start, and is not repeated in the message."""
        with pytest.raises(ConfigurationError, match=says) as caught:
            SessionTokens(secrets, clock=ManualClock())
        assert "horse" not in str(caught.value)
        assert "x" * 31 not in str(caught.value)
        assert "AAAA" not in str(caught.value)

    def test_are_counted_in_bytes(self) -> None:
        """The length of a secret is counted in bytes, not characters."""
        ours = tokens("ñ" * 16)
        assert ours.read(ours.mint(session_id="s")).session_id == "s"

    def test_are_not_shown(self) -> None:
        """Neither the representation nor a token's header contains a secret."""
        ours = tokens()
        header = ours.mint(session_id="s").partition(".")[0]
        assert SECRET not in repr(ours)
        assert SECRET.encode() not in base64.urlsafe_b64decode(header + "==")


@pytest.mark.parametrize("host", [flask, django])
def test_each_host_has_them(host: Any) -> None:
    """A project with Flask or Django needs no other framework to mint tokens and links."""
    assert (host.SessionTokens, host.FeedbackLinks) == (SessionTokens, FeedbackLinks)
    assert host.ServerSettings is ServerSettings
