"""Feedback links: minting and verifying them."""

from datetime import timedelta
from typing import Any

import jwt
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from harken.domain.feedback import Context
from harken.domain.rules import label_problem
from harken.testing import strategies as hst
from harken_adapters.tokens import (
    ExpiredToken,
    FeedbackLink,
    FeedbackLinks,
    InvalidClaims,
    InvalidToken,
    SessionTokens,
)
from harken_adapters.tokens.feedback_links import AUDIENCE, LANGUAGES, MAX_LINK_LENGTH
from harken_adapters.tokens.signing import MIN_SECRET_BYTES
from support import ManualClock

SECRET = "correct horse battery staple, thirty-two and more"
BASE = "https://shop.example/feedback"

ids = st.text(min_size=1, max_size=40).filter(lambda text: label_problem("id", text) is None)
contents = st.fixed_dictionaries(
    {
        "session_id": ids,
        "application": ids,
        "message_id": ids | st.none(),
        "author": ids | st.none(),
        "agent": ids | st.none(),
        "context": st.none() | hst.contexts().filter(lambda context: len(repr(context)) < 300),
        "rating": st.sampled_from(["up", "down", None]),
        "label": ids | st.none(),
        "lang": st.sampled_from([*LANGUAGES, "pt-BR", "ZH-Hant", None]),
    }
)


def links(*secrets: str, clock: ManualClock | None = None) -> FeedbackLinks:
    """A minter and verifier of links, at noon."""
    return FeedbackLinks(secrets or (SECRET,), clock=clock or ManualClock())


def token_of(url: str) -> str:
    """The token in the URL of a link."""
    return url.rpartition("/")[2]


class TestMinting:
    @given(contents)
    def test_what_is_minted_is_read(self, content: dict[str, Any]) -> None:
        """A link has the fields with which it was minted; the author defaults to the session."""
        ours = links()
        try:
            url = ours.mint(BASE, **content)
        except InvalidClaims as error:
            if "use shorter ids" not in str(error):
                raise
            reject()
        read = ours.read(token_of(url))
        expected = {**content, "author": content["author"] or content["session_id"]}
        expected["context"] = Context(content["context"] or {})
        assert read == FeedbackLink(**expected, expires_at=read.expires_at)

    @pytest.mark.parametrize("base", [BASE, f"{BASE}/", "http://localhost:8000", "http://[::1]:8000/a/b"])
    def test_the_url(self, base: str) -> None:
        """The URL is that of the page, below the place where Harken is served."""
        url = links().mint(base, session_id="s")
        assert url.startswith(f"{base.rstrip('/')}/vote/eyJ")
        assert url.isascii()

    @pytest.mark.parametrize(
        "base",
        [
            "",
            "shop.example",
            "/feedback",
            "ftp://shop.example",
            "https://",
            f"{BASE}?a=1",
            f"{BASE}?",
            f"{BASE}#a",
            "https://shop.example/a b",
            'https://shop.example/"onclick=',
            "https://[",
            "https://\u0661.example",
            None,
            b"https://shop.example",
        ],
    )
    def test_an_invalid_base(self, base: Any) -> None:
        """The base must be an HTTP URL without a query string, as a browser needs it."""
        with pytest.raises(InvalidClaims, match="expected the URL where Harken is served"):
            links().mint(base, session_id="s")

    @pytest.mark.parametrize(
        ("parts", "says"),
        [
            ({"session_id": ""}, "session_id .* must not be empty"),
            ({"session_id": "s", "message_id": ""}, "message_id .* must not be empty"),
            ({"session_id": "s", "author": "a" * 201}, "author .* too long"),
            ({"session_id": "s", "rating": "neutral"}, "rating must be 'up' or 'down', got 'neutral'"),
            ({"session_id": "s", "rating": 1}, "rating must be a string, got int"),
            ({"session_id": "s", "label": "a\nb"}, "label must not contain control characters"),
            ({"session_id": "s", "label": "a" * 301}, "label too long"),
            ({"session_id": "s", "lang": "tlh"}, "Unknown lang 'tlh'; expected one of en, es"),
            ({"session_id": "s", "lang": 5}, "lang must be a string, got int"),
            ({"session_id": "s", "context": {"a": [1]}}, "context.a must be a string, a number"),
            ({"session_id": "s", "lifetime": timedelta(0)}, "lifetime must be more than zero"),
            ({"session_id": "s", "context": {f"a{n}": "x" * 100 for n in range(20)}}, "less context"),
        ],
    )
    def test_rejects_invalid_values(self, parts: dict[str, Any], says: str) -> None:
        """An invalid value is rejected, and the message says what was expected."""
        with pytest.raises(InvalidClaims, match=says):
            links().mint(BASE, **parts)

    def test_lists_all_problems(self) -> None:
        """The message lists the problems of all values, not only the first one."""
        invalid: dict[str, Any] = {
            "session_id": "",
            "message_id": "",
            "context": {"a": [1]},
            "rating": "neutral",
            "label": 5,
            "lang": "tlh",
            "lifetime": timedelta(0),
        }
        with pytest.raises(InvalidClaims) as caught:
            links().mint("ftp://shop.example", **invalid)
        for name in (*invalid, "base"):
            assert name in str(caught.value)

    def test_a_language_of_another_version(self) -> None:
        """A link for a language that this version does not have is read: the page is shown in another language."""
        claims = {"aud": AUDIENCE, "exp": 4_000_000_000, "application": "shop", "session": "s", "lang": "nl"}
        assert links().read(jwt.encode(claims, SECRET)).lang == "nl"

    def test_a_long_label_in_any_script_fits(self) -> None:
        """A link with ordinary ids and the longest label in any script is within the limit of mail clients."""
        url = links().mint("https://x", session_id="s" * 36, message_id="m" * 36, author="a" * 36, label="あ" * 300)
        assert len(url) < MAX_LINK_LENGTH + len("https://x/vote/")


class TestReading:
    def test_ends_when_it_says(self) -> None:
        """A link is valid until its expiry time, exclusively, by default 30 days later."""
        clock = ManualClock()
        ours = links(clock=clock)
        text = token_of(ours.mint(BASE, session_id="s"))
        clock.turn(days=30, microseconds=-1)
        assert ours.read(text).session_id == "s"
        clock.turn(microseconds=1)
        with pytest.raises(ExpiredToken):
            ours.read(text)

    def test_a_link_is_not_a_session_token(self) -> None:
        """Neither is accepted instead of the other, although the same secret signs them."""
        clock = ManualClock()
        tokens = SessionTokens((SECRET,), clock=clock)
        link = token_of(links(clock=clock).mint(BASE, session_id="s", author="kim"))
        with pytest.raises(InvalidToken, match="audience of the session token is not 'harken'"):
            tokens.read(link)
        with pytest.raises(InvalidToken, match="audience of the feedback link is not 'harken-link'"):
            links(clock=clock).read(tokens.mint(session_id="s", author="kim"))

    @given(st.data())
    def test_any_change_is_refused(self, data: st.DataObject) -> None:
        """A link with any character changed, added or removed is rejected, and the message does not contain it."""
        text = token_of(links().mint(BASE, session_id="session", author="ann", rating="down"))
        place = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, min(2, len(text) - place)))
        changed = text[:place] + data.draw(st.text("aB9-_.=é", max_size=2)) + text[place + cut :]
        assume(changed != text)
        with pytest.raises(InvalidToken) as caught:
            links().read(changed)
        assert changed not in str(caught.value)

    def test_another_secret(self) -> None:
        """A link that another server signed is rejected; after a rotation, old links are still valid."""
        other = "x" * MIN_SECRET_BYTES
        text = token_of(links(other).mint(BASE, session_id="s"))
        with pytest.raises(InvalidToken, match="is not signed"):
            links().read(text)
        assert links(SECRET, other).read(text).session_id == "s"
