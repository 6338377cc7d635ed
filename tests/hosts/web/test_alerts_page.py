"""The page of alerts and deliveries, without JavaScript, with webhooks to a receiver on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from attrs import define

import harken
from adapters.notifiers.receiver import SECRET, TAKEN, Received, answering, receiving
from harken import Change, Harken
from harken.domain.events import Delivery, DeliveryState
from hosts.html_forms import Html
from hosts.serving import Server
from hosts.web.site import Visitor, WebPage, links_of, served_at, texts_of
from support import ManualClock

pytestmark = pytest.mark.slow

ALERTS: Final = "/dashboard/alerts"
WORDS: Final = "endpoint retired, see </td><script>alert(1)</script>"
RULES: Final[list[Any]] = [
    {"name": "low", "kind": "satisfaction", "by": "agent", "below": 60, "window": "3h", "at_least": 20},
    {"name": "in a row", "kind": "streak", "by": "session", "length": 3},
    {"name": "words", "kind": "theme", "by": "agent", "keywords": ["wifi"]},
]


@define
class Support:
    """A receiver that answers with a status and words; with ``None``, it accepts everything."""

    status: str | None = "410 Gone"

    def __call__(self, received: Received) -> Iterable[bytes]:
        """Answer a request."""
        return answering(self.status, body=WORDS.encode())(received) if self.status else [TAKEN]


@pytest.fixture
def support() -> Support:
    """The receiver of the channel ``support``."""
    return Support()


@pytest.fixture
def hk(clock: ManualClock, support: Support) -> Iterator[Harken]:
    """A Harken with a webhook to the receiver, and the log."""
    with receiving(support) as receiver:
        hook = {"kind": "webhook", "url": receiver.url, "secret": SECRET, "allow": ["127.0.0.1"]}
        channels: Any = {"support": hook, "log": {"kind": "log"}}
        with harken.connect("memory://", clock=clock, channels=channels, alert_rules=RULES) as connected:
            yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server that requires keys."""
    with served_at(hk, clock, access="keys", relay=False) as serving:
        yield serving


@pytest.fixture
def admin(hk: Harken, server: Server) -> Visitor:
    """A visitor with a key for everything."""
    return Visitor.signed_in(server, hk.keys.create("default", ["admin", "moderate"]).text)


def with_scopes(hk: Harken, server: Server, *scopes: str, application: str = "default", **limits: Any) -> Visitor:
    """A visitor with a key for an application."""
    return Visitor.signed_in(server, hk.keys.create(application, scopes, **limits).text)


def is_read_again(page: WebPage) -> bool:
    """Whether the page reads a row again on its own."""
    return any(one.get("data-refresh") for one in page.attributes("tbody"))


def give(hk: Harken, count: int, session: str = "s", **parts: Any) -> None:
    """Submit thumbs-down feedback, and send what is due."""
    for _ in range(count):
        hk.submit(session, "down", "slow", **parts)
    hk.relay.run_due()


def dead(hk: Harken, **filters: str) -> list[Delivery]:
    """The dead deliveries, the newest first."""
    return [*hk.deliveries.find("dead", newest_first=True, limit=1000, **filters)]  # type: ignore[arg-type]


def words_of(page: Html) -> str:
    """The text of a page, as it looks: times are elements of their own, without a space after them."""
    return re.sub(r" ([:.,])(?= )", r"\1", texts_of(page))


def row_link(page: Any, delivery: Delivery) -> dict[str, str | None]:
    """The link of the row of a delivery, which shows or hides its attempts."""
    rows = [one for one in page.attributes("a") if "aria-expanded" in one]
    return next(one for one in rows if (one["href"] or "").endswith(quote(f"#delivery-{delivery.id}", safe="#")))


def replay_forms(page: Any) -> list[Any]:
    """The forms that replay one delivery."""
    return [form for form in page.forms if any(name == "id" for name, _ in form.fields)]


class TestAlerts:
    def test_open_alerts(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """Each open alert says what, since when, by which rule, and where it was sent."""
        hk.submit("other", "up", agent_id="Ann")
        give(hk, 23, agent_id="Ann", session="s-1")
        hk.alerts.evaluate_windows()
        hk.relay.run_due()
        clock.turn(minutes=45)
        shown = words_of(admin.page(ALERTS))
        assert "3 open alerts, 1 channel is off" in shown
        assert "Ann is under 60% open 4% of 24 thumbs within 3 h (1 \N{EN DASH} 20, 95% confidence)." in shown
        assert "3 thumbs-down ratings in a row from one session" in shown
        assert "Session s-1. 23 thumbs-down ratings so far. Since 12:00, for 45 min." in shown
        assert "rule “low” · sent to log, support (dead)" in shown

    def test_more_alerts_than_are_counted(self, hk: Harken, admin: Visitor) -> None:
        """The menu and the page give the same number."""
        for number in range(102):
            for _ in range(3):
                hk.submit(f"s{number}", "down", "slow")
        hk.relay.run_due()
        page = admin.page(ALERTS)
        assert "Alerts 100+ open" in texts_of(page)
        assert "100+ open alerts" in texts_of(page)
        assert "Open 100+ Resolved 0" in texts_of(page)

    def test_the_last_of_many_deliveries_says_how_a_channel_stands(
        self, hk: Harken, clock: ManualClock, admin: Visitor, support: Support
    ) -> None:
        """However often the feedback was changed before."""
        support.status = None
        given = hk.submit("s", "down", "0", author="kim", message_id="m").feedback
        for number in range(1, 110):
            clock.turn(minutes=1)
            hk.change(given.id, Change(comment=f"{number}"))
            hk.relay.run_due()
        support.status = "410 Gone"
        clock.turn(minutes=1)
        hk.change(given.id, Change(comment="last"))
        hk.relay.run_due()
        assert "support dead, it is off" in texts_of(admin.page(f"/dashboard/feedback/{given.id}"))

    def test_see_them_leads_to_exactly_the_feedback_of_the_alert(
        self, hk: Harken, clock: ManualClock, admin: Visitor
    ) -> None:
        """The list of feedback that the link leads to is what the alert counted, also with other filters in use."""
        give(hk, 5, session="before", agent_id="Ann")
        clock.turn(hours=5)
        hk.submit("a", "up", agent_id="Ann")
        give(hk, 24, session="b", agent_id="Ann")
        give(hk, 2, session="c", agent_id="Ben")
        hk.alerts.evaluate_windows()
        clock.turn(minutes=1)
        give(hk, 1, session="later", agent_id="Ann")
        links = [link for link in links_of(admin.page(f"{ALERTS}?zone=Asia/Tokyo&agent_id=Cleo")) if "since=" in link]
        queries = [dict(parse_qsl(urlsplit(link).query)) for link in links]
        of_ann = next(link for link, query in zip(links, queries, strict=True) if query.get("agent_id") == "Ann")
        assert "25 responses for Ann" in words_of(admin.page(of_ann))
        of_session = next(link for link, query in zip(links, queries, strict=True) if query.get("session_id") == "b")
        assert "24 thumbs-down ratings" in words_of(admin.page(of_session))
        assert {query["zone"] for query in queries} == {"Asia/Tokyo"}

    def test_a_theme_is_searched_for(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """Of all comments of its agent, only those that mention the theme are shown."""
        hk.submit("before", "up")
        clock.turn(days=7)
        for number in range(12):
            hk.submit(f"s{number}", "down", "The wifi is slow" if number else "Too expensive", agent_id="Ann")
        hk.alerts.evaluate_windows()
        clock.turn(minutes=1)
        (link,) = [link for link in links_of(admin.page(ALERTS)) if "text=" in link]
        assert "mention “wifi”" in (shown := words_of(admin.page(link)))
        assert "11 of 11" in shown

    def test_resolved_alerts_have_pages(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """Resolved alerts are on a tab of their own, ten on a page."""
        for number in range(12):
            give(hk, 3, session=f"s-{number}")
            clock.turn(minutes=1)
            hk.submit(f"s-{number}", "up")
            hk.relay.run_due()
        page = admin.page(f"{ALERTS}?alerts=resolved")
        assert words_of(page).count("3 thumbs-down ratings in all") == 10
        assert "Resolved 12" in words_of(page)
        (older,) = [link for link in links_of(page) if "alerts_after=" in link]
        assert words_of(admin.page(older)).count("3 thumbs-down ratings in all") == 2
        assert "No alert" not in words_of(page)

    def test_erased_feedback(self, hk: Harken, admin: Visitor) -> None:
        """The alert about erased feedback says so, and leads nowhere."""
        give(hk, 3, session="secret-session")
        hk.collection.erase(harken.FeedbackQuery(session_id="secret-session"))
        hk.relay.run_due()
        shown = words_of(admin.page(f"{ALERTS}?alerts=resolved"))
        assert "Alert about erased feedback" in shown
        assert "secret-session" not in shown


class TestChannels:
    def test_the_status_in_words(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """A channel has its status in words, its host without secrets, and the number that matters."""
        give(hk, 2)
        clock.turn(minutes=3)
        page = admin.page(ALERTS)
        shown = words_of(page)
        assert (
            "support webhook · 127.0.0.1 webhook · 127.0.0.1 off since 12:00: the receiver answered 410 Gone" in shown
        )
        assert "all arrived, the last one 3 min ago 3 today" in shown
        assert SECRET not in admin.get(ALERTS).text

    def test_channels_that_sent_nothing(self, hk: Harken, admin: Visitor) -> None:
        """A channel that is on and sent nothing says so; one that is off says why."""
        hk.channels.switch_off("support", "it moves")
        shown = words_of(admin.page(ALERTS))
        assert "off since 12:00: it moves" in shown
        assert "on; nothing was sent in the last week" in shown

    def test_disable_and_enable(self, hk: Harken, admin: Visitor) -> None:
        """Disabling needs a reason, which people see; enabling does not replay anything."""
        refused = admin.post(f"{ALERTS}/channels/log/off", {"reason": " "})
        assert (refused.status_code, hk.channels.states()[1].on) == (422, True)
        assert "reason must not be empty." in words_of(WebPage(refused.text))
        answer = admin.post(f"{ALERTS}/channels/log/off?zone=Asia/Tokyo", {"reason": "it <moves>"})
        assert answer.status_code == 303
        shown = words_of(admin.page(answer.headers["location"]))
        assert "off since 21:00: it <moves>" in shown
        assert "The channel is off." in shown
        give(hk, 1)
        died = dead(hk, channel="log")
        answer = admin.post(f"{ALERTS}/channels/log/on", {})
        assert "The channel is on." in words_of(admin.page(answer.headers["location"]))
        hk.relay.run_due()
        assert died
        assert dead(hk, channel="log") == died
        assert hk.channels.states()[1].on

    def test_unknown_channels(self, admin: Visitor) -> None:
        """An unknown channel is a page that says so."""
        assert admin.post(f"{ALERTS}/channels/nothing/on", {}).status_code == 404


class TestDeliveries:
    def test_the_commonest_cause_comes_first(self, hk: Harken, admin: Visitor) -> None:
        """The note has the commonest cause; rows have status and the receiver's own words, as text."""
        give(hk, 2, agent_id="Ann")
        page = admin.page(ALERTS)
        shown = words_of(page)
        assert "2 deliveries to “support” did not arrive. They are kept until you replay them." in shown
        assert "All 2 have the same cause: support answered 410 Gone at 12:00 and is off." in shown
        assert "down · Ann · s" in shown
        assert f"410 Gone “{WORDS}”" in shown
        assert "not attempted support was off" in shown
        assert "<script>alert(1)" not in admin.get(ALERTS).text
        assert "Dead 2 Waiting 0 Arrived 3 today" in shown

    def test_what_was_sent_counts_as_an_attempt(self, hk: Harken, admin: Visitor) -> None:
        """An attempt that failed is counted, and what was not sent as the channel was off is not, as in the API."""
        give(hk, 2)
        shown = words_of(admin.page(ALERTS))
        assert [one.attempts for one in dead(hk)] == [0, 1]
        assert f"410 Gone “{WORDS}” 1 12:00" in shown
        assert "not attempted support was off 0 12:00" in shown

    def test_an_earlier_day(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """The cause says on which day it was first seen."""
        give(hk, 1)
        clock.turn(days=1)
        shown = words_of(admin.page(ALERTS))
        assert re.search(r"support answered 410 Gone on \w{3} \d+ \w{3} at 12:00 and is off", shown)

    @pytest.mark.parametrize("as_of", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
    def test_a_count_outside_of_the_calendar(self, admin: Visitor, as_of: str) -> None:
        """A form with a time that UTC does not have is refused."""
        answer = admin.post(f"{ALERTS}/replay-all?channel=support", {"as_of": as_of, "at_most": "1"})
        assert answer.status_code == 422
        assert "as_of is not an ISO 8601 date" in answer.text

    def test_a_row_opens_to_its_attempts(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """A link opens the row: when each attempt was, how long it took, the words, the id; and another closes it."""
        give(hk, 1)
        (delivery,) = dead(hk)
        link = row_link(admin.page(ALERTS), delivery)
        assert link["aria-expanded"] == "false"
        opened = admin.page(link["href"] or "")
        assert f": “{WORDS}” Delivery {delivery.id}" in words_of(opened)
        assert "12:00:00 410 Gone in " in words_of(opened)
        link = row_link(opened, delivery)
        assert link["aria-expanded"] == "true"
        assert row_link(admin.page(link["href"] or ""), delivery)["aria-expanded"] == "false"
        (about,) = [one for one in links_of(opened) if "/dashboard/feedback/" in one]
        assert "down" in words_of(admin.page(about)).lower()

    def test_pages_and_filters(self, hk: Harken, admin: Visitor) -> None:
        """Deliveries have pages; filters by channel and event hold on each of them."""
        give(hk, 40)
        seen: list[str] = []
        link: str | None = f"{ALERTS}?channel=support&type=feedback.created"
        while link:
            page = admin.page(link)
            seen += [one["id"] or "" for one in page.attributes("tbody") if "id" in one]
            link = next((one for one in links_of(page) if "after=" in one and "delivery-" not in one), None)
        wanted = [one.id for one in dead(hk) if one.event.type.about_feedback]
        assert seen == [f"delivery-{one}" for one in wanted]
        assert len(seen) == 40
        assert "No delivery is dead." in words_of(admin.page(f"{ALERTS}?channel=log"))
        assert "25 of 41" in words_of(admin.page(ALERTS))

    def test_the_tabs(self, hk: Harken, admin: Visitor, support: Support) -> None:
        """What arrived, and what waits with its last answer and the time of the next attempt."""
        support.status = "503 Service Unavailable"
        give(hk, 1)
        assert "down · s feedback.created to log log arrived" in words_of(admin.page(f"{ALERTS}?state=arrived"))
        waiting = admin.page(f"{ALERTS}?state=waiting")
        assert "waiting 503 Service Unavailable, next attempt in 5 s 1" in words_of(waiting)
        assert "slow: 503 Service Unavailable at attempt 1, the next one in 5 s 1 waiting" in words_of(waiting)
        assert "No delivery is dead." in words_of(admin.page(ALERTS))
        support.status = None
        (form,) = replay_forms(waiting)
        answer = admin.post(f"{ALERTS}/replay?state=waiting", form.data())
        hk.relay.run_due()
        shown = words_of(admin.page(answer.headers["location"]))
        assert "arrived 204 No Content" in shown
        assert "Dead 0 Waiting 0 Arrived 2 today" in shown

    def test_the_position_of_a_page_was_erased(self, hk: Harken, admin: Visitor) -> None:
        """If the delivery after which a page begins was erased, the first page is shown."""
        give(hk, 2)
        assert len(admin.page(f"{ALERTS}?after=gone&open=gone").attributes("tbody")) == 3

    @pytest.mark.parametrize("query", ["state=x", "type=x", "alerts=x", "channel=a&channel=b", "count=-1", "nothing=1"])
    def test_invalid_parameters(self, admin: Visitor, query: str) -> None:
        """An invalid parameter is a page that says so."""
        admin.page(f"{ALERTS}?{query}", status=422)


class TestReplays:
    def test_a_channel_that_is_off(self, hk: Harken, admin: Visitor) -> None:
        """While a channel is off, Replay is disabled and says why; a form that is sent anyway is refused."""
        give(hk, 1)
        (delivery,) = dead(hk)
        page = admin.page(ALERTS)
        assert "Replay down · s to support: support is off" in words_of(page)
        assert not [link for link in links_of(page) if "/replay-all" in link]
        assert admin.post(f"{ALERTS}/replay", {"id": delivery.id}).status_code == 409
        assert "support is off" in words_of(admin.page(f"{ALERTS}/replay-all?channel=support"))
        sent = admin.post(f"{ALERTS}/replay-all?channel=support", {"as_of": "2030-01-01", "at_most": "5"})
        assert (sent.status_code, len(dead(hk))) == (409, 1)

    def test_one(self, hk: Harken, admin: Visitor, support: Support) -> None:
        """After a replay the row says that the delivery waits, then that it arrived; its id is the same."""
        give(hk, 1)
        (delivery,) = dead(hk)
        hk.channels.switch_on("support")
        form = next(form for form in replay_forms(admin.page(ALERTS)) if ("id", delivery.id) in form.fields)
        answer = admin.post(f"{ALERTS}/replay?state=dead", form.data())
        assert answer.headers["location"].endswith(quote(f"#delivery-{delivery.id}", safe="#"))
        waiting = admin.page(answer.headers["location"])
        assert "Sent again under the same id." in words_of(waiting)
        assert "waiting sent as soon as possible" in words_of(waiting)
        assert is_read_again(waiting)
        support.status = None
        hk.relay.run_due()
        arrived = admin.page(answer.headers["location"])
        assert "arrived 204 No Content" in words_of(arrived)
        assert not is_read_again(arrived)
        assert hk.deliveries.get(delivery.id).state is DeliveryState.DELIVERED

    @pytest.mark.parametrize("lag", [timedelta(seconds=2), timedelta(hours=1)])
    def test_a_slow_clock(self, hk: Harken, clock: ManualClock, lag: timedelta) -> None:
        """The row is read again until it is sent, also if the clock of the page is earlier than that of the storage."""
        give(hk, 1)
        (delivery,) = dead(hk)
        hk.channels.switch_on("support")
        with served_at(hk, lambda: clock() - lag, access="keys", relay=False) as server:
            admin = Visitor.signed_in(server, hk.keys.create("default", ["admin"]).text)
            answer = admin.post(f"{ALERTS}/replay?state=dead", {"id": delivery.id})
            waiting = admin.page(answer.headers["location"])
        assert "waiting sent as soon as possible" in words_of(waiting)
        assert is_read_again(waiting)

    def test_a_clock_that_went_back(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """The row is read again until it is sent, also if it was replayed in a process whose clock is ahead."""
        give(hk, 1)
        (delivery,) = dead(hk)
        hk.channels.switch_on("support")
        answer = admin.post(f"{ALERTS}/replay?state=dead", {"id": delivery.id})
        clock.turn(seconds=-2)
        assert is_read_again(admin.page(answer.headers["location"]))

    def test_one_that_fails_again(self, hk: Harken, admin: Visitor) -> None:
        """If it fails again, the row has both attempts and can be replayed once the channel is on."""
        give(hk, 1)
        (delivery,) = dead(hk)
        hk.channels.switch_on("support")
        answer = admin.post(f"{ALERTS}/replay", {"id": delivery.id})
        hk.relay.run_due()
        shown = words_of(admin.page(answer.headers["location"]))
        assert shown.count("12:00:00 410 Gone in ") == 2

    def test_all_asks_once(self, hk: Harken, clock: ManualClock, admin: Visitor, support: Support) -> None:
        """Replay all asks with count and channel, and then replays no more than was counted."""
        give(hk, 5)
        hk.channels.switch_on("support")
        (link,) = [one for one in links_of(admin.page(ALERTS)) if "/replay-all" in one]
        clock.turn(seconds=1)
        asked = admin.page(link)
        assert "Replay 6 to support?" in words_of(asked)
        assert "6 dead deliveries are sent to the channel “support” again" in words_of(asked)
        assert len(dead(hk)) == 6
        clock.turn(seconds=1)
        hk.submit("later", "down", "slow")
        hk.relay.run_due()
        hk.channels.switch_on("support")
        later = {one.id for one in dead(hk)}
        form = next(form for form in asked.forms if any(name == "as_of" for name, _ in form.fields))
        answer = admin.post(link, form.data())
        shown = words_of(admin.page(answer.headers["location"]))
        assert "6 deliveries will be sent again, each under its own id." in shown
        left = {one.id for one in dead(hk)}
        assert len(left) == len(later) - 6
        support.status = None
        hk.relay.run_due()
        assert len(hk.deliveries.find("delivered", channel="support")) == 6

    def test_all_without_a_count(self, hk: Harken, admin: Visitor) -> None:
        """A form without the count or the channel changes nothing."""
        give(hk, 1)
        hk.channels.switch_on("support")
        assert admin.post(f"{ALERTS}/replay-all?channel=support", {}).status_code == 422
        assert admin.post(f"{ALERTS}/replay-all", {"as_of": "2030-01-01", "at_most": "5"}).status_code == 422
        assert len(dead(hk)) == 1

    def test_forms_of_other_sites(self, hk: Harken, admin: Visitor) -> None:
        """A form of another origin changes nothing."""
        give(hk, 1)
        (delivery,) = dead(hk)
        hk.channels.switch_on("support")
        evil = {"Origin": "https://evil.example"}
        assert admin.post(f"{ALERTS}/replay", {"id": delivery.id}, **evil).status_code == 403
        assert admin.post(f"{ALERTS}/channels/log/off", {"reason": "x"}, **evil).status_code == 403
        assert (len(dead(hk)), hk.channels.states()[1].on) == (1, True)


class TestAccess:
    def test_readers_see_alerts_only(self, hk: Harken, server: Server) -> None:
        """A key with the scope read sees alerts, but neither channels nor deliveries, and changes nothing."""
        give(hk, 3)
        delivery = next(one for one in dead(hk) if one.event.type.about_feedback)
        reader = with_scopes(hk, server, "read")
        shown = words_of(reader.page(ALERTS))
        assert "3 thumbs-down ratings in a row" in shown
        assert "support" not in shown.replace("Channel support is off", "")
        assert "Deliveries" not in shown
        assert reader.post(f"{ALERTS}/replay", {"id": delivery.id}).status_code == 403
        assert reader.post(f"{ALERTS}/channels/log/off", {"reason": "x"}).status_code == 403
        reader.page(f"{ALERTS}/replay-all?channel=support", status=403)
        assert "Notified" not in words_of(reader.page(f"/dashboard/feedback/{delivery.event.subject_id}"))
        needs = words_of(reader.page("/dashboard"))
        assert "Needs you" in needs
        assert "dead" not in needs

    @pytest.mark.parametrize("scopes", [["read"], ["admin"]])
    def test_keys_that_are_limited_to_agents(self, hk: Harken, server: Server, scopes: list[str]) -> None:
        """Alerts and deliveries concern all agents: such a key has no page of them, no entry in the menu, no need."""
        give(hk, 3, agent_id="Ann")
        limited = with_scopes(hk, server, *scopes, agents=["Ben"])
        limited.page(ALERTS, status=403)
        overview = limited.page("/dashboard")
        assert "Alerts" not in words_of(overview)
        assert "Needs you" not in words_of(overview)

    def test_two_applications(self, hk: Harken, server: Server) -> None:
        """An admin of one application sees and replays nothing of another, and switches no channel."""
        give(hk, 3, session="secret-session")
        (delivery, *_) = dead(hk)
        other = with_scopes(hk, server, "admin", application="other")
        page = other.page(ALERTS)
        shown = words_of(page)
        assert "secret-session" not in shown
        assert "No open alerts, 1 channel is off" in shown
        assert "Dead 0 Waiting 0 Arrived 0 today" in shown
        assert "Enable" not in shown.replace("Enable it", "")
        assert not [link for link in links_of(page) if "/replay-all" in link]
        assert delivery.id not in words_of(other.page(f"{ALERTS}?open={quote(delivery.id)}"))
        alert = hk.alerts.find("default")[-1]
        assert "secret-session" not in words_of(other.page(f"{ALERTS}?state=any&alert_id={alert.id}"))
        other.page(f"{ALERTS}?alerts_after={alert.id}", status=404)
        hk.channels.switch_on("support")
        assert other.post(f"{ALERTS}/replay", {"id": delivery.id}).status_code == 404
        other.post(f"{ALERTS}/replay-all?channel=support", {"as_of": "2030-01-01", "at_most": "100"})
        assert len(dead(hk)) >= 3
        assert other.post(f"{ALERTS}/channels/support/off", {"reason": "x"}).status_code == 403
        assert hk.channels.states()[0].on


class TestElsewhere:
    def test_the_page_of_one_entry(self, hk: Harken, admin: Visitor) -> None:
        """It says which channels were notified, and leads to these deliveries only."""
        give(hk, 1, session="one")
        give(hk, 1, session="two")
        delivery = next(one for one in dead(hk) if one.history and one.history[-1].status == "410 Gone")
        page = admin.page(f"/dashboard/feedback/{delivery.event.subject_id}")
        assert "Notified: log arrived, support dead, it is off · see deliveries" in words_of(page)
        (link,) = [one for one in links_of(page) if "feedback_id=" in one]
        shown = admin.page(link)
        rows = [one for one in shown.attributes("tbody") if "id" in one]
        assert len(rows) == 2
        assert "Feedback is" in words_of(shown)

    def test_what_needs_you(self, hk: Harken, admin: Visitor) -> None:
        """The overview has open alerts, dead deliveries with their cause, and what waits; nothing if nothing does."""
        give(hk, 3)
        shown = words_of(admin.page("/dashboard"))
        assert "3 thumbs-down ratings in a row from one session alert · open since 12:00" in shown
        assert "4 deliveries are dead support answered 410 Gone at 12:00 and is off" in shown
        assert "wait for review" not in shown
        about = next(one.event.subject_id for one in dead(hk) if one.event.type.about_feedback)
        hk.moderation.decide("default", about, "pending", moderator="Mo")
        assert "1 waits for review oldest 0 s · not counted yet" in words_of(admin.page("/dashboard"))

    def test_each_thing_is_said_once(self, hk: Harken, clock: ManualClock, admin: Visitor) -> None:
        """A channel that is off is not named again as an alert, if its dead deliveries are named."""
        give(hk, 1)
        hk.relay.run_due()
        assert "Channel support is off" in words_of(admin.page(ALERTS))
        shown = words_of(admin.page("/dashboard"))
        assert "1 delivery is dead support answered 410 Gone at 12:00 and is off" in shown
        assert "Channel support is off" not in shown

    def test_nothing_needs_you(self, hk: Harken, admin: Visitor, support: Support) -> None:
        """Without alerts, dead deliveries and a queue, the card is absent."""
        support.status = None
        hk.submit("s", "up")
        hk.relay.run_due()
        assert "Needs you" not in words_of(admin.page("/dashboard"))
        shown = words_of(admin.page(ALERTS))
        assert "No open alerts" in shown
        assert "Everything that was sent has arrived." in shown
