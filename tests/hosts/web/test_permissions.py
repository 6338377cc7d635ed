"""The dashboard offers what the HTTP API permits with the same key, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup

import harken
from channels import Recorder
from harken import DeliveryFailed, Harken, RatingPolicy, Route, Violation
from harken.ports.notifier import Notification
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.web.routes import DASHBOARD_PAGES
from harken_adapters.tokens import SessionTokens
from hosts.serving import Server, call_operation, served
from hosts.web.site import Visitor

pytestmark = pytest.mark.slow

HOME: Final = "/dashboard"
SECRET: Final = "a secret that has thirty-two bytes or more"
BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
#: The operation that returns what a page of the main menu shows.
MENU: Final = {
    HOME: "analytics_headline",
    f"{HOME}/feedback": "list_feedback",
    f"{HOME}/moderation": "moderation_queue",
    f"{HOME}/alerts": "list_alerts",
    f"{HOME}/settings": "list_keys",
}
#: The operation that does what a form does, by the form's action. A path may have an id in it.
FORMS: Final = {
    "/moderation/decisions": "moderate_feedback",
    "/alerts/replay": "replay_delivery",
    "/alerts/replay-all": "replay_deliveries",
    "/alerts/channels/[^/]+/on": "switch_channel_on",
    "/alerts/channels/[^/]+/off": "switch_channel_off",
    "/settings/keys": "create_key",
    "/settings/keys/[^/]+": "revoke_key",
    "/settings/routes": "put_route",
    "/settings/routes/[^/]+": "delete_route",
}
#: The forms that every visitor has.
FOR_ALL: Final = ("/sign-in/stay", "/sign-out", f"{HOME}/theme", f"{HOME}/letter-keys")


def hold(submission: harken.Submission) -> list[Violation]:
    """Hold some feedback."""
    return [Violation("comment", "hold", "Hold")] if submission.comment == "held" else []


def refuse(_: Notification) -> None:
    """Let a delivery die."""
    raise DeliveryFailed("refused", retryable=False)


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with everything that pages offer forms for, in two applications."""
    channels = {"log": Recorder(), "off": Recorder(), "dead": Recorder(refuse)}
    with harken.connect("memory://", channels=channels, policy=RatingPolicy(hold=(hold,))) as connected:
        for application in ("default", "shop"):
            connected.routes.put(Route(name=f"of-{application}", channel="dead", applications=[application]))
            for comment in ("listed", "held"):
                connected.submit("s", "down", comment, agent_id="helper", author="a", application=application)
        connected.channels.switch_off("off", "by hand")
        connected.relay.run_due()
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server that requires keys or tokens."""
    with served(hk, access="keys", token_secrets=(SECRET,), relay=False) as serving:
        yield serving


def offered(visitor: Visitor) -> set[str]:
    """The operations that pages offer: those of the main menu, and those of the forms on all linked pages."""
    found: set[str] = set()
    seen, waiting = {f"{HOME}/preferences"}, [f"{HOME}/preferences"]
    while waiting:
        answer = visitor.get(path := waiting.pop())
        assert answer.status_code == 200, (path, answer.text)
        page = BeautifulSoup(answer.text, "html.parser")
        found |= {MENU[path_of(one["href"])] for one in page.select('nav[aria-label="Main"] a')}
        actions = {path_of(form["action"]) for form in page.select('form[method="post"]')}
        found |= {operation_of(action) for action in actions.difference(FOR_ALL)}
        links = {path_of(one["href"]): str(one["href"]) for one in page.select("a[href]")}
        new = {path for path in links if path.startswith(f"{HOME}/") and path not in seen}
        seen |= new
        waiting += [links[path] for path in sorted(new)]
    return found


def path_of(link: object) -> str:
    """The path of a link."""
    return urlsplit(str(link)).path


def operation_of(action: str) -> str:
    """The name of the operation that does what a form does."""
    found = [name for path, name in FORMS.items() if re.fullmatch(f"{HOME}{path}", action)]
    assert len(found) == 1, action
    return found[0]


def permitted(server: Server, key: str, feedback_id: str) -> set[str]:
    """The operations, of those that pages can offer, that the API does not refuse with 403."""
    found = set()
    for name in {*MENU.values(), *FORMS.values()}:
        operation = BY_NAME[name]
        query = "agent_id=helper" if "agent_id" in operation.filters else ""
        headers = {"Authorization": f"Bearer {key}"}
        with call_operation(server, operation, feedback_id, query=query, headers=headers) as answer:
            if answer.status_code != 403 or "agent_id to one of" in answer.text:
                found.add(name)
    return found


@pytest.mark.parametrize("scopes", [["submit"], ["read"], ["moderate"], ["read", "moderate"], ["admin"]])
@pytest.mark.parametrize("options", [{}, {"agents": ["helper"]}], ids=["all agents", "one agent"])
@pytest.mark.parametrize("application", ["default", "shop"])
def test_pages_offer_what_the_api_permits(
    hk: Harken, server: Server, scopes: list[str], options: dict[str, Any], application: str
) -> None:
    """A page offers exactly the operations that the API does not refuse with 403."""
    key = hk.keys.create(application, scopes, **options).text
    (entry,) = hk.feedback(application=application).items
    assert offered(Visitor.signed_in(server, key)) == permitted(server, key, entry.id)


def test_a_session_token_shows_no_page(server: Server) -> None:
    """What visitors of an application may do does not include any page of the dashboard, or any form."""
    token = SessionTokens([SECRET]).mint(session_id="s", author="kim")
    headers = {"Authorization": f"Bearer {token}"}
    assert server.ask("GET", "/api/sessions/s/votes?author=kim", headers=headers).status_code == 200
    for page in DASHBOARD_PAGES:
        path = page.path.format(feedback_id="f", key_id="k", route="r", channel="log")
        if path not in FOR_ALL:
            for method in page.methods:
                assert server.ask(method, path, headers=headers).status_code == 403, (method, path)
