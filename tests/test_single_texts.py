"""A single text in place of a collection of texts is that one text, or it is refused; it is never its letters."""

from collections.abc import Callable
from typing import Any

import pytest

import harken
from harken import Change, FeedbackRejected, Harken, RatingPolicy, RouteRejected, Scope
from harken.domain.alerts.rules import ThemeRule
from harken.domain.events import EventType
from harken.domain.keywords import count_keywords
from harken.domain.routes import Route, parse_route
from harken.domain.rules import no_spam
from harken_adapters.hosts.http.guards.addresses import trusted_networks
from harken_adapters.hosts.http.guards.origins import Origins
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.notifiers.webhook import WebhookNotifier, open_notifier
from hosts.serving import served
from support import a_submission


def test_metadata_keys(hk: Harken) -> None:
    """The service deletes the one key, and none of its letters."""
    hk.sessions.update("default", "s", dict.fromkeys(("topic", "o", "p"), 1))
    assert hk.sessions.delete("default", "s", "topic") == 1
    assert hk.sessions.get("default", "s") == {"o": 1, "p": 1}


def test_scopes_and_agents_of_a_key(hk: Harken) -> None:
    """One scope and one agent make a key for these."""
    for scope in ("read", Scope.READ):
        key = hk.keys.create("default", scope, agents="helper").key
        assert (key.scopes, key.agents) == (frozenset({Scope.READ}), frozenset({"helper"}))


def test_filters_of_a_route() -> None:
    """An agent, an application and a tag are taken as one each; types, ratings and states must be in a list."""
    route = Route(name="r", channel="c", agents="helper", applications="shop", tags="fast")
    assert (route.agents, route.applications, route.tags) == ({"helper"}, {"shop"}, {"fast"})
    for filters in ({"events": "feedback.created"}, {"ratings": "down"}, {"statuses": "pending"}):
        with pytest.raises(RouteRejected, match="needs a list of"):
            Route(name="r", channel="c", **filters)  # type: ignore[arg-type]
    with pytest.raises(RouteRejected, match="A route needs a list of"):
        Route(name="r", channel="c", events=EventType.CREATED)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["events", "ratings", "applications", "agents", "tags", "statuses"])
def test_a_routes_table(key: str) -> None:
    """In settings and over HTTP each filter must be a list."""
    with pytest.raises(RouteRejected, match=f"{key} of route 'r' must be a list, got 'fast'"):
        parse_route({"name": "r", "channel": "c", key: "fast"})


def test_keywords() -> None:
    """A keyword is searched for as a whole."""
    assert [one.keyword for one in count_keywords(["too slow"], "slow")] == ["slow"]
    assert ThemeRule(name="r", keywords="slow").keywords == ("slow",)  # type: ignore[arg-type]
    with harken.connect("memory://") as hk:
        hk.submit("s", "down", "Too slow")
        assert [one.keyword for one in hk.themes("slow")] == ["slow"]


@pytest.mark.parametrize(
    "policy", [RatingPolicy.standard(spam_phrases="buy now"), RatingPolicy().with_rules(no_spam("buy now"))]
)
def test_spam_phrases(policy: RatingPolicy) -> None:
    """A phrase is searched for as a whole."""
    assert not policy.judge(a_submission(comment="What a nice day, by now")).violations
    assert policy.judge(a_submission(comment="Buy now!")).violations


REFUSALS: dict[str, Callable[[Harken], Any]] = {
    "submit": lambda hk: hk.submit("s", "up", tags="fast"),
    "submit_soon": lambda hk: hk.submit_soon("s", "up", tags="fast").result(),
    "set_vote": lambda hk: hk.collection.set_vote(harken.Target("s"), "ann", "up", tags="fast"),
    "change": lambda hk: hk.collection.change("default", hk.submit("s", "up").feedback.id, Change(tags="fast")),
}


@pytest.mark.parametrize("way", REFUSALS)
def test_tags(hk: Harken, way: str) -> None:
    """A text is refused with the expected type, instead of being stored as its letters."""
    with pytest.raises(FeedbackRejected, match="tags must be a list of strings, got str"):
        REFUSALS[way](hk)


def test_phrases_of_the_settings() -> None:
    """A text is refused, as it may be a list that was written without brackets."""
    with pytest.raises(harken.ConfigurationError, match="spam_phrases must be a list of strings, got one string"):
        harken.connect("memory://", spam_phrases="buy now")


@pytest.mark.parametrize("name", ["allowed_origins", "trusted_proxies", "token_secrets"])
def test_settings_of_the_service(name: str) -> None:
    """A text is refused, and a secret is not repeated."""
    with pytest.raises(harken.ConfigurationError, match=f"{name} must be a list of strings, got one string"):
        ServerSettings(**{name: "https://example.com"})


def test_origins_and_networks() -> None:
    """One origin and one network are these, for programs that create parts of the service directly."""
    assert Origins("https://example.com").allows("https://example.com")
    assert [str(network) for network in trusted_networks("10.0.0.0/8")] == ["10.0.0.0/8"]


def test_secrets_and_networks_of_a_webhook() -> None:
    """One secret signs and one host is allowed; in a table each must be a list."""
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw" + "=="
    WebhookNotifier("http://localhost/", secret, allow="localhost").close()
    for key in ("secrets", "allow"):
        table = {"url": "http://localhost/", "secret": secret, "allow": ["localhost"], key: "localhost"}
        if key == "secrets":
            del table["secret"]
        with pytest.raises(harken.ConfigurationError, match=f"{key} of a webhook must be a list of strings"):
            open_notifier(table)


def test_keys_over_http(hk: Harken) -> None:
    """A key that is passed alone is that key."""
    hk.sessions.update("default", "s", dict.fromkeys(("topic", "o", "p"), 1))
    with served(hk) as server:
        answer = server.ask("DELETE", "/api/sessions/s/metadata?key=topic")
    assert answer.json() == {"session_id": "s", "removed": 1}
    assert hk.sessions.get("default", "s") == {"o": 1, "p": 1}
