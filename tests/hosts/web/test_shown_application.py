"""Forms change the application that their page showed, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bs4 import BeautifulSoup
from requests import Response

import harken
from channels import Recorder
from harken import DeliveryFailed, Feedback, Harken
from hosts.serving import Server
from hosts.web.site import Visitor, served_at
from support import ManualClock

pytestmark = pytest.mark.slow

PAGES = ("/moderation", "/moderation?tab=rejected", "/alerts", "/alerts/replay-all?channel=team", "/settings")
#: They change the browser only.
OF_THE_BROWSER = ("/dashboard/theme", "/dashboard/letter-keys", "/sign-out", "/sign-in/stay")


def refuse(_: object) -> None:
    """The answer of a receiver that is gone."""
    raise DeliveryFailed("410 Gone", retryable=False)


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with the same things in two applications."""
    channels: Any = {"team": Recorder(refuse)}
    routes: Any = [harken.Route(name="all", channel="team")]
    with harken.connect("memory://", clock=clock, spam="hold", channels=channels, routes=routes) as connected:
        for application in ("default", "shop"):
            for place in range(4):
                connected.submit(f"s{place}", "up", f"click here {place}", application=application)
            one, *_ = connected.moderation.queue(connected.query(application=application)).items
            connected.moderation.decide(application, one.id, "rejected", moderator="Ann")
            connected.submit("s", "down", "Slow", application=application)
        connected.relay.run_due()
        connected.routes.put(harken.Route(name="own", channel="team", applications=["default"]))
        yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server that requires keys."""
    with served_at(hk, clock, access="keys", relay=False) as serving:
        yield serving


def admin_of(hk: Harken, server: Server, application: str) -> Visitor:
    """Somebody who is signed in with a key for everything in an application."""
    return Visitor.signed_in(server, hk.keys.create(application, ["admin"], name=f"admin of {application}").text)


def forms_of(visitor: Visitor, path: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The address and the hidden fields of each form of a page that changes what is stored."""
    answer = visitor.get(path)
    assert answer.status_code == 200, answer.text
    return forms_in(answer)


def forms_in(answer: Response) -> list[tuple[str, list[tuple[str, str]]]]:
    """The same of a response."""
    page = BeautifulSoup(answer.text, "html.parser")
    return [
        (
            str(form["action"]).partition("#")[0],
            [(str(one["name"]), str(one["value"])) for one in form.select("input[type=hidden]")],
        )
        for form in page.select("form[method=post]")
        if not str(form["action"]).startswith(OF_THE_BROWSER)
    ]


def feedback_of(hk: Harken, application: str) -> list[Feedback]:
    """All feedback of an application."""
    return list(hk.collection.find(hk.query(application=application).in_any_state(), limit=100).items)


def paths_of(hk: Harken, visitor: Visitor) -> list[str]:
    """The pages with forms."""
    one, *_ = hk.moderation.queue(hk.query()).items
    return [f"/dashboard{page}" for page in (*PAGES, f"/feedback/{one.id}")]


def test_every_form_has_the_application(hk: Harken, server: Server) -> None:
    """No form that changes what is stored is without the application that its page shows."""
    visitor = admin_of(hk, server, "default")
    forms = [form for path in paths_of(hk, visitor) for form in forms_of(visitor, path)]
    waiting = [f"{one.version}:{one.id}" for one in hk.moderation.queue(hk.query()).items]
    answer = visitor.post("/dashboard/moderation/decisions", {"entry": waiting, "preview": "approved"})
    forms += forms_in(answer)
    paths = {action.partition("?")[0] for action, _ in forms}
    assert {path.removeprefix("/dashboard").split("/")[1] for path in paths} == {"moderation", "alerts", "settings"}
    assert len(paths) >= 7
    for action, fields in forms:
        assert ("shown_application", "default") in fields, action


def test_forms_of_another_application_change_nothing(hk: Harken, server: Server) -> None:
    """After another tab has signed in to another application, each form says so, and nothing is changed there."""
    tab, other = admin_of(hk, server, "default"), admin_of(hk, server, "shop")
    forms = [form for path in paths_of(hk, tab) for form in forms_of(tab, path)]
    tab.session.cookies.clear()
    tab.session.cookies.update(other.session.cookies)
    before = [hk.keys.keys(), hk.routes.routes(), feedback_of(hk, "shop")]
    for action, fields in forms:
        more = [("name", "x"), ("scopes", "admin"), ("channel", "team"), ("decide", "approved"), ("reason", "spam")]
        answer = tab.post(action, [*fields, *more])
        assert answer.status_code == 409, action
        assert "Nothing was changed" in answer.text
        assert "showed the application “default”, but you are now signed in to “shop”" in answer.text
    assert before == [hk.keys.keys(), hk.routes.routes(), feedback_of(hk, "shop")]


def test_a_form_without_a_sign_in(hk: Harken, server: Server) -> None:
    """The sign-in page says that nothing was saved, and leads back to the page that the form is on, if it is an own."""
    visitor = admin_of(hk, server, "default")
    visitor.session.cookies.clear()
    page = "/dashboard/moderation?tab=rejected"
    form = {"entry": "1:x", "decide": "approved"}
    answer = visitor.post("/dashboard/moderation/decisions", form, Referer=f"{server.url}{page}")
    assert answer.headers["location"] == "/sign-in?next=%2Fdashboard%2Fmoderation%3Ftab%3Drejected&unsaved="
    shown = visitor.get(answer.headers["location"]).text
    assert "Nothing was saved, as your sign-in has ended." in shown
    assert f'name="next" value="{page}"' in shown
    for referrer in ("", "https://evil.example//evil.example/x", "x", f"{server.url}/sign-out"):
        answer = visitor.post("/dashboard/moderation/decisions", form, Referer=referrer)
        assert answer.headers["location"] == "/sign-in?unsaved="
