"""The menu of applications in the top bar."""

from collections.abc import Iterator
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

import harken
from harken import FeedbackQuery, Harken
from hosts.serving import Server, served
from hosts.web.site import Visitor, WebPage, links_of, texts_of

pytestmark = pytest.mark.slow

PREFERENCES = ("/dashboard/theme", "/dashboard/letter-keys")


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with feedback in two applications besides the default one."""
    with harken.connect("memory://") as connected:
        connected.submit("s", "down", "of the shop", application="shop", agent_id="till")
        connected.submit("s", "up", "of the bank", application="bank & co")
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server with open access."""
    with served(hk) as serving:
        yield serving


def menu(page: WebPage) -> dict[str, dict[str, list[str]]]:
    """The parameters of the links in the menu, by application."""
    found = (parse_qs(urlsplit(link).query) for link in links_of(page) if "application=" in link)
    return {query["application"][0]: query for query in found}


def test_the_menu_leads_to_the_same_page_of_another_application(server: Server) -> None:
    """With open access, each application has a link, which keeps the period, but no filters."""
    visitor = Visitor(server)
    page = visitor.page("/dashboard/feedback?period=week&zone=Asia%2FTokyo&agent_id=till")
    assert set(menu(page)) == {"default", "shop", "bank & co"}
    assert menu(page)["shop"] == {"period": ["week"], "zone": ["Asia/Tokyo"], "application": ["shop"]}
    link = next(link for link in links_of(page) if "application=bank" in link)
    assert urlsplit(link).path == "/dashboard/feedback"
    shown = texts_of(visitor.page(link))
    assert "of the bank" in shown
    assert "of the shop" not in shown


def test_links_and_forms_keep_the_application(hk: Harken, server: Server) -> None:
    """Every link and form of every page stay with the chosen application, as does the event stream."""
    visitor = Visitor(server)
    one = hk.collection.find(FeedbackQuery(application="shop")).items[0]
    pages = ("", "/feedback", f"/feedback/{one.id}", "/issues", "/filter?name=tag", "/alerts", "/settings")
    tabs = [f"/moderation?{tab}" for tab in ("", "tab=rejected", "tab=approved", "author=nobody", "held_by=spam")]
    failures = ("/feedback/unknown", "/feedback?rating=maybe", "/alerts?type=none")
    for path in (*pages, *tabs, *failures, "/preferences"):
        page = WebPage(visitor.get(f"/dashboard{path}{'&' if '?' in path else '?'}application=shop").text)
        # The menu of applications leads to the others.
        links = [link for link in links_of(page) if urlsplit(link).path.startswith("/dashboard")]
        others = [link for link in links if parse_qs(urlsplit(link).query).get("application") != ["shop"]]
        assert {link for link in others if not parse_qs(urlsplit(link).query).get("application")} == set(), path
        actions = [form["action"] or "" for form in page.attributes("form")]
        for action, form in zip(actions, page.forms, strict=True):
            # Forms of GET replace the query string; those of preferences lead back to the page.
            given = form.fields if form.method == "get" else parse_qsl(urlsplit(action).query)
            assert ("application", "shop") in given or urlsplit(action).path in PREFERENCES, (path, action)
    assert "Application shop." in texts_of(visitor.page("/dashboard/settings?application=shop"))
    listening = Visitor(server).page("/dashboard/feedback?application=shop")
    (stream,) = (one["data-events"] for one in listening.attributes("span") if "data-events" in one)
    assert stream is not None
    path, _, query = stream.partition("?")
    filters = dict(parse_qsl(query))
    assert path == "/api/events"
    # The beginning of the period depends on the time of the test.
    assert filters.pop("since")
    assert filters == {"application": "shop", "status": "approved", "withdrawn": "false"}


def test_a_key_has_no_choice(hk: Harken) -> None:
    """A key belongs to one application: there is no menu, and another application is refused."""
    with served(hk, access="keys") as server:
        visitor = Visitor.signed_in(server, hk.keys.create("shop", ["admin"]).text)
        page = visitor.page("/dashboard/feedback")
        assert menu(page) == {}
        assert "of the shop" in texts_of(page)
        assert "bank" not in visitor.get("/dashboard/settings").text
        visitor.page("/dashboard/feedback?application=default", status=403)


def test_a_key_that_may_only_moderate(hk: Harken) -> None:
    """Signing in leads to the pages that it may see; a key that may see none gets an explanation and can sign out."""
    with served(hk, access="keys") as server:
        visitor = Visitor.signed_in(server, hk.keys.create("default", ["moderate"]).text)
        answer = visitor.get("/dashboard")
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/moderation")
        answer = visitor.get("/dashboard?application=default")
        assert answer.headers["location"] == "/dashboard/moderation?application=default"
        visitor.page("/dashboard/moderation")
        visitor = Visitor.signed_in(server, hk.keys.create("default", ["submit"]).text)
        assert 'action="/sign-out"' in visitor.get("/dashboard").text


def test_a_single_application_needs_no_menu() -> None:
    """Where nothing can be chosen, there is no menu."""
    with harken.connect("memory://") as hk, served(hk) as server:
        hk.submit("s", "up")
        assert menu(Visitor(server).page("/dashboard/feedback")) == {}


def test_forms_change_the_chosen_application(hk: Harken, server: Server) -> None:
    """A key that is created while another application is shown belongs to that application."""
    visitor = Visitor(server)
    assert visitor.post("/dashboard/settings/keys?application=shop", {"scopes": "read"}).status_code == 200
    assert [key.application for key in hk.keys.keys("shop")] == ["shop"]
    assert hk.keys.keys("default") == []
