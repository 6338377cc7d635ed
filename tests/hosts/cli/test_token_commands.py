"""The commands mint-token and mint-link."""

from pathlib import Path
from typing import Any

import pytest

from harken_adapters.tokens import FeedbackLinks, SessionTokens

SECRET = "a secret that has thirty-two bytes or more"
TOKEN = ("mint-token", "--session", "s")
LINK = ("mint-link", "https://shop.example/f", "--session", "s")


@pytest.fixture
def secret(cli: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The secret of the server, in its environment."""
    monkeypatch.setenv("HARKEN_SERVER_TOKEN_SECRETS", f"{SECRET},{'x' * 32}")
    return SECRET


@pytest.mark.usefixtures("secret")
def test_a_token(cli: Any) -> None:
    """Stdout has only the token, which has the values of all options and is signed with the first secret."""
    options = ["--author", "kim", "--origin", "https://shop.example", "--agent", "helper", "--lifetime", "1h30m"]
    made = cli("--application", "shop", *TOKEN, *options, "--context", "tier=pro", "--context", "n=1")
    assert (made.code, made.err, made.out.count("\n")) == (0, "", 1)
    token = SessionTokens([SECRET]).read(made.out.strip())
    assert (token.application, token.session_id, token.author) == ("shop", "s", "kim")
    assert (token.origin, token.agent, token.context) == ("https://shop.example", "helper", {"tier": "pro", "n": "1"})


@pytest.mark.usefixtures("secret")
def test_a_link(cli: Any) -> None:
    """Stdout has only the URL, which has the values of all options."""
    options = ["--message", "m", "--author", "kim", "--agent", "helper", "--rating", "down", "--label", "Your flight"]
    made = cli("--application", "shop", *LINK, *options, "--lang", "pt", "--context", "tier=pro", "--lifetime", "7d")
    assert (made.code, made.err, made.out.count("\n")) == (0, "", 1)
    base, _, text = made.out.strip().rpartition("/")
    link = FeedbackLinks([SECRET]).read(text)
    assert (base, link.application, link.session_id) == ("https://shop.example/f/vote", "shop", "s")
    assert (link.message_id, link.author, link.agent) == ("m", "kim", "helper")
    assert (link.rating, link.label, link.lang, link.context) == ("down", "Your flight", "pt", {"tier": "pro"})


@pytest.mark.usefixtures("secret")
def test_the_storage_is_not_opened(cli: Any) -> None:
    """Neither command needs the storage, or creates it."""
    for command in (TOKEN, LINK):
        assert cli(*command, storage="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1").code == 0
        assert cli(*command).code == 0
    assert list(Path.cwd().iterdir()) == []


def test_the_settings_of_the_server(cli: Any) -> None:
    """The secret and the application are those in the file of the server, among its other settings."""
    lines = ['application = "shop"', "[server]", "port = 8001", f'token_secrets = ["{SECRET}"]', "[channels.log]"]
    Path("harken.toml").write_text("\n".join(lines), encoding="utf-8")
    assert SessionTokens([SECRET]).read(cli(*TOKEN).out.strip()).application == "shop"


def test_without_a_secret(cli: Any) -> None:
    """The error says which setting is missing."""
    for command in (TOKEN, LINK):
        made = cli(*command)
        assert (made.code, made.out) == (2, "")
        assert "set token_secrets in [server] of harken.toml, or HARKEN_SERVER_TOKEN_SECRETS" in made.err
        assert "'harken serve' accepts only the tokens of its demo" in made.err


def test_a_weak_secret(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is too short is refused, and not printed."""
    monkeypatch.setenv("HARKEN_SERVER_TOKEN_SECRETS", "hunter2")
    made = cli(*TOKEN)
    assert (made.code, made.out) == (2, "")
    assert "secret 1 is too short: 7 bytes, expected 32 or more" in made.err
    assert "hunter2" not in made.err


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mint-token",), "Missing option '--session'"),
        (("mint-token", "--session", ""), "session_id (session) must not be empty"),
        ((*TOKEN, "--origin", "shop.example"), "origin is 'shop.example'; expected an origin such as"),
        ((*TOKEN, "--lifetime", "soon"), "expected a duration such as '90s'"),
        ((*TOKEN, "--lifetime", "0s"), "lifetime must be more than zero"),
        ((*TOKEN, "--context", "tier"), "'tier' has no '='; expected --context NAME=VALUE"),
        (("mint-link", "shop.example", "--session", "s"), "expected the URL where Harken is served"),
        ((*LINK, "--rating", "neutral"), "'neutral' is not one of 'up', 'down'"),
        ((*LINK, "--lang", "tlh"), "Unknown lang 'tlh'; expected one of en"),
        ((*LINK, "--label", "x" * 301), "label too long"),
    ],
)
def test_invalid_arguments(cli: Any, arguments: tuple[str, ...], says: str) -> None:
    """The error says what was expected; stdout is empty."""
    made = cli(*arguments)
    assert (made.code, made.out) == (2, "")
    assert says in " ".join(made.err.split())
