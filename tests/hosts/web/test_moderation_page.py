"""The moderation page without JavaScript: the queue, decisions on one and on several entries, conflicts, undo."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from attrs import evolve

import harken
from harken import Change, Feedback, FeedbackQuery, Harken, Moderation, ModerationStatus, RatingPolicy, Violation
from harken.testing import Faults
from harken_adapters.storage.memory import open_storage
from hosts.browser.test_hostile_texts import TEXTS
from hosts.http.test_every_host import HOSTS
from hosts.serving import Server
from hosts.web.site import Visitor, WebPage, links_of, served_at, texts_of
from support import ManualClock

pytestmark = pytest.mark.slow

PAGE = "/dashboard/moderation"
FORM = f"{PAGE}/decisions"
PENDING, APPROVED, REJECTED = ModerationStatus


def mentions_a_lawyer(submission: harken.Submission) -> list[Violation]:
    """A rule that names its spans."""
    spans = tuple(found.span() for found in re.finditer("lawyer", submission.comment))
    return [Violation("comment", "legal", "It mentions a lawyer", spans=spans)] if spans else []


POLICY = RatingPolicy.standard(spam="hold").with_rules(mentions_a_lawyer, hold=True)


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken that holds spam and lawyers."""
    with harken.connect("memory://", clock=clock, policy=POLICY) as connected:
        yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server that requires keys."""
    with served_at(hk, clock, access="keys") as serving:
        yield serving


@pytest.fixture
def moderator(hk: Harken, server: Server) -> Callable[..., Visitor]:
    """Signs a moderator in."""

    def sign_in(name: str, *scopes: str, application: str = "default", **limits: Any) -> Visitor:
        key = hk.keys.create(application, scopes or ["read", "moderate"], name=name, **limits)
        return Visitor.signed_in(server, key.text)

    return sign_in


@pytest.fixture
def sam(moderator: Callable[..., Visitor]) -> Visitor:
    """A moderator."""
    return moderator("Sam")


@pytest.fixture
def priya(moderator: Callable[..., Visitor]) -> Visitor:
    """Another moderator."""
    return moderator("Priya")


@pytest.fixture
def hold(hk: Harken, clock: ManualClock) -> Callable[..., Feedback]:
    """Submits feedback that is held, each a minute after the one before."""

    def submit(comment: str = "click here", rating: str | None = "up", session: str = "s", **options: Any) -> Feedback:
        clock.turn(minutes=1)
        held = hk.submit(session, rating, comment, **options).feedback
        assert held.moderation.status is PENDING
        return held

    return submit


class Calls(Faults):
    """Counts the calls to a storage by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def call(self, name: str, work: Callable[[], Any]) -> Any:
        self.counts[name] += 1
        return super().call(name, work)


def entry(feedback: Feedback) -> str:
    """What a form sends for an entry."""
    return f"{feedback.version}:{feedback.id}"


def decide(visitor: Visitor, feedback: Feedback, status: str, query: str = "", **fields: str) -> Any:
    """The response to the form of a decision, which leads to a page."""
    answer = visitor.post(f"{FORM}{query}", {"entry": entry(feedback), "decide": status, **fields})
    assert answer.status_code == 303, answer.text
    return answer


def lose(visitor: Visitor, fields: dict[str, str]) -> WebPage:
    """The page that answers a decision that was not saved, without a redirect."""
    answer = visitor.post(FORM, fields)
    assert answer.status_code == 200, answer.text
    return WebPage(answer.text)


def page_after(visitor: Visitor, answer: Any) -> WebPage:
    """The page to which a redirect leads."""
    return visitor.page(answer.headers["location"])


def rows(page: WebPage) -> list[str]:
    """The ids of the listed entries, in order."""
    return [found["data-feedback"] or "" for name, found in page.elements if name == "li" and "data-feedback" in found]


def current(page: WebPage) -> str | None:
    """The id of the entry to decide on."""
    found = [one["data-feedback"] for name, one in page.elements if name == "section" and "data-feedback" in one]
    return found[0] if found else None


def stored(hk: Harken, feedback: Feedback) -> Feedback:
    """The entry as it is stored."""
    return hk.collection.get(feedback.application, feedback.id)


class TestTheQueue:
    def test_it_says_why_and_what_would_change(
        self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback], clock: ManualClock
    ) -> None:
        """The oldest is the current one: its rule in words, the hits marked, its author's record, and the effect."""
        hk.submit("s", "down", "slow", agent_id="Ann")
        hold("casino", author="jo")
        before = hold("casino bonus", author="jo")
        hk.moderation.decide("default", before.id, "rejected")
        first = hold("Please click here, my lawyer says: CLICK HERE", agent_id="Ann", author="jo", session="s-9")
        clock.turn(minutes=4)
        page = sam.page(f"{PAGE}?current={first.id}")
        text = texts_of(page)
        assert "2 wait for a decision" in text
        assert "The oldest has waited 6 min." in text
        assert "2 of 2" in text
        assert (
            "Spam phrase “click here” and mentions a lawyer “lawyer” — rules spam phrases , mentions a lawyer" in text
        )
        assert "It is not counted or listed until you decide." in text
        assert len(page.attributes("mark")) == 3
        assert "jo · 2 before: 0 approved, 1 rejected, 1 held" in text
        assert "s-9 · 1 response" in text
        assert "Ann 0% → 50% if approved" in text
        assert "Waiting 2" in text

    def test_entries_of_earlier_versions_have_only_a_reason(self, hk: Harken, sam: Visitor, clock: ManualClock) -> None:
        """Without stored rules, the page shows the text of the reason."""
        given = hk.submit("s", "up", "fine").feedback
        hk.collection.erase(FeedbackQuery().in_any_state())
        hk.collection.restore([evolve(given, moderation=Moderation.held("it was odd"))])
        assert "It was odd . It is not counted or listed" in texts_of(sam.page(PAGE))

    def test_it_is_oldest_first_in_pages(self, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """Each entry is on one page, and a page that has been decided leads back to the start."""
        held = [hold(f"casino {number}") for number in range(45)]
        page, seen, query = sam.page(PAGE), [], ""
        for expected in (20, 20, 5):
            seen += rows(page)
            assert f"{expected} of 45" in texts_of(page)
            following = [link for link in links_of(page) if "after=" in link and "current=" not in link]
            if expected == 20:
                query = f"?{urlsplit(following[-1]).query}"
                page = sam.page(f"{PAGE}{query}")
        assert seen == [one.id for one in held]
        for one in held[40:]:
            answer = decide(sam, one, "rejected", query)
        page = page_after(sam, answer)
        assert (rows(page), current(page)) == ([one.id for one in held[:20]], held[0].id)

    def test_what_waits_longest_is_listed(
        self, hold: Callable[..., Feedback], clock: ManualClock, moderator: Callable[..., Visitor]
    ) -> None:
        """Also what was given before the period that other pages show."""
        one = hold()
        clock.turn(days=60)
        page = moderator("Sam").page(f"{PAGE}?period=week")
        assert rows(page) == [one.id]
        assert "The oldest has waited 60 days." in texts_of(page)

    def test_filters_are_in_the_address(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """The rule, the agent and the author narrow the queue, also after a decision; a period does not."""
        one = hold("my lawyer", agent_id="Ann", author="jo")
        two = hold("casino", agent_id="Ann", author="kim")
        three = hold("casino", agent_id="Bob", author="jo")
        four = hold("casino", agent_id="Ann", author="jo")
        links = links_of(sam.page(PAGE))
        assert {f"{PAGE}?held_by=spam+phrases", f"{PAGE}?held_by=mentions+a+lawyer", f"{PAGE}?agent_id=Bob"} <= {*links}
        assert rows(sam.page(f"{PAGE}?held_by=spam+phrases")) == [two.id, three.id, four.id]
        assert rows(sam.page(f"{PAGE}?agent_id=Bob")) == [three.id]
        assert rows(sam.page(f"{PAGE}?author=jo&period=today")) == [one.id, three.id, four.id]
        query = "?agent_id=Ann&held_by=spam+phrases&period=week"
        page = sam.page(f"{PAGE}{query}")
        assert "2 wait for a decision" in texts_of(page)
        assert "4 wait in all." in texts_of(page)
        after = page_after(sam, decide(sam, two, "approved", query))
        assert (rows(after), current(after)) == ([four.id], four.id)
        assert "Why held is spam phrases" in texts_of(after)
        page = sam.page(f"{PAGE}?author=nobody")
        assert "Nothing fits all of these filters 3 wait without them." in texts_of(page)

    def test_nothing_waits(self, sam: Visitor, hold: Callable[..., Feedback], clock: ManualClock) -> None:
        """An empty queue says so, with what was done today."""
        assert "Nothing waits" in texts_of(sam.page(PAGE))
        one = hold()
        clock.turn(minutes=14)
        page = page_after(sam, decide(sam, one, "approved"))
        assert "Nothing waits. 1 decided today, median wait 14 min." in texts_of(page)
        assert current(page) is None

    def test_what_rules_caught(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """Refused submissions are counted by rule, although they are stored nowhere."""
        for _ in range(3):
            with pytest.raises(harken.FeedbackRejected):
                hk.submit("s", "down")
        hold()
        text = texts_of(sam.page(PAGE))
        assert re.search(r"Reason when down .*? 3 0 Spam phrases .*? 0 1$", text)


class TestDecisions:
    def test_a_decision_leads_to_the_next_entry(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """It is stored with the moderator's name, and the page says so and can undo it."""
        one, two, three = hold("casino 1"), hold("casino 2"), hold("casino 3")
        page = page_after(sam, decide(sam, two, "approved", f"?current={two.id}"))
        assert stored(hk, two).moderation.moderator == "Sam"
        assert stored(hk, two).is_counted
        assert (rows(page), current(page)) == ([one.id, three.id], three.id)
        assert "Approved Undo Z" in texts_of(page)
        assert "You approved · 0 s ago" in texts_of(page)
        page = page_after(sam, decide(sam, three, "rejected"))
        assert current(page) == one.id
        answer = sam.post(FORM, {"entry": entry(stored(hk, three)), "undo": "yes"})
        page = page_after(sam, answer)
        assert (rows(page), current(page)) == ([one.id, three.id], three.id)
        assert "Undone: it waits again" in texts_of(page)

    def test_a_message_is_not_repeated_later(
        self, sam: Visitor, hold: Callable[..., Feedback], clock: ManualClock
    ) -> None:
        """The address with a message can be opened again."""
        answer = decide(sam, hold(), "approved")
        assert "Approved Undo Z" in texts_of(page_after(sam, answer))
        clock.turn(minutes=2)
        assert "Approved Undo Z" not in texts_of(page_after(sam, answer))

    @pytest.mark.parametrize(
        ("fields", "reason", "shown"),
        [
            ({"decide": "rejected", "reason": "spam"}, "spam", "Rejected as spam"),
            ({"decide": "rejected", "reason": "other", "words": " not <us> "}, "not <us>", "Rejected (“not <us>”)"),
            ({"decide": "rejected", "reason": "other"}, "", "Rejected"),
            ({"decide": "approved", "reason": "spam", "words": "x"}, "", "Approved"),
        ],
    )
    def test_a_rejection_has_a_reason(
        self, sam: Visitor, hold: Callable[..., Feedback], fields: dict[str, str], reason: str, shown: str
    ) -> None:
        """It is chosen or typed. Approvals have none, even if the form has one for a rejection."""
        one = hold()
        page = page_after(sam, sam.post(FORM, {"entry": entry(one), **fields}))
        assert f"{shown} Undo Z" in texts_of(page)
        assert (f"(“{reason}”)" in texts_of(page)) == (reason == "not <us>")

    def test_a_form_that_is_sent_twice(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """The second time changes nothing, and is not a conflict."""
        one = hold()
        first, second = decide(sam, one, "rejected"), decide(sam, one, "rejected")
        assert first.headers["location"] == second.headers["location"]
        assert stored(hk, one).version == 2

    def test_decided_entries_can_be_decided_again(
        self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]
    ) -> None:
        """The tabs list them, and what cannot be changed to is not offered."""
        one, two = hold("casino 1"), hold("casino 2")
        decide(sam, one, "rejected", reason="spam")
        decide(sam, two, "approved")
        page = sam.page(f"{PAGE}?tab=rejected")
        assert rows(page) == [one.id]
        assert "You rejected this as spam 0 s ago." in texts_of(page)
        assert ("decide", "approved") in [button for form in page.forms for button in form.buttons]
        assert ("decide", "rejected") not in [button for form in page.forms for button in form.buttons]
        page = page_after(sam, decide(sam, stored(hk, one), "approved", "?tab=rejected"))
        assert "0 rejected" in texts_of(page)
        assert set(rows(sam.page(f"{PAGE}?tab=approved"))) == {one.id, two.id}

    def test_an_entry_is_rejected_from_its_own_page(self, hk: Harken, sam: Visitor) -> None:
        """The form leads back to the page, with its filters."""
        one = hk.submit("s", "up", "fine", agent_id="Ann").feedback
        detail = f"/dashboard/feedback/{one.id}"
        page = sam.page(f"{detail}?agent_id=Ann")
        assert ("decide", "rejected") in [button for form in page.forms for button in form.buttons]
        answer = decide(sam, one, "rejected", "?agent_id=Ann", page="feedback", reason="off-topic")
        assert answer.headers["location"].startswith(f"{detail}?agent_id=Ann&")
        page = page_after(sam, answer)
        assert "Rejected by Sam : off-topic" in texts_of(page)
        assert "Rejected as off-topic Undo Z" in texts_of(page)
        undo = next(form for form in page.forms if ("undo", "yes") in form.buttons)
        answer = sam.post(f"{FORM}?agent_id=Ann", undo.data(("undo", "yes")))
        assert answer.headers["location"].startswith(f"{detail}?agent_id=Ann&")
        assert "Undone: it is approved again" in texts_of(page_after(sam, answer))
        assert stored(hk, one).is_counted

    def test_the_walk_goes_on_after_a_rejection(self, hk: Harken, sam: Visitor, clock: ManualClock) -> None:
        """The rejected entry is not in the list any more, and its page leads to those around its place."""
        given = []
        for number in range(3):
            clock.turn(minutes=1)
            given.append(hk.submit(f"s{number}", "up", "fine").feedback)
        page = page_after(sam, decide(sam, given[1], "rejected", page="feedback"))
        assert "not in this list any more" in texts_of(page)
        around = {link.partition("?")[0].rpartition("/")[2] for link in links_of(page) if "/feedback/" in link}
        assert {given[0].id, given[2].id} <= around

    def test_an_entry_that_was_never_in_the_list(self, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """The page of an entry that waits does not say that it has left the list of feedback."""
        hold()
        decide(sam, hold("casino"), "approved")
        assert "not in this list any more" not in texts_of(sam.page(f"/dashboard/feedback/{hold('casino').id}"))


class TestTwoPeople:
    @pytest.mark.parametrize("tab", ["waiting", "rejected"])
    def test_an_erased_entry(
        self, hk: Harken, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback], tab: str
    ) -> None:
        """The decision on it is said to be lost, and nothing is said of another entry."""
        gone, *others = [hold("click here", session=f"s{number}") for number in range(3)]
        if tab == "rejected":
            for one in (gone, *others):
                decide(priya, stored(hk, one), "rejected")
        form = {"entry": entry(stored(hk, gone)), "decide": "approved"}
        hk.collection.erase(hk.query(session_id="s0").in_any_state())
        answer = sam.post(f"{FORM}?tab={tab}", form)
        page = WebPage(answer.text)
        assert "Your approval was not saved. This feedback does not exist any more." in texts_of(page)
        assert "anyway" not in texts_of(page)
        assert texts_of(page).count("was not saved") == 1

    def test_the_second_one_learns_it(
        self, hk: Harken, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback], clock: ManualClock
    ) -> None:
        """Who was faster, when, and that nothing was saved; insisting works, with the same reason."""
        one = hold()
        other = hold("casino")
        decide(priya, one, "approved")
        clock.turn(seconds=12)
        page = lose(sam, {"entry": entry(one), "decide": "rejected", "reason": "abusive"})
        assert stored(hk, one).moderation.moderator == "Priya"
        assert "Priya approved this 12 s ago. Your rejection was not saved. Reject it anyway Next" in texts_of(page)
        assert "Priya is here too" in texts_of(page)
        assert any(f"current={other.id}" in link for link in links_of(page))
        form = next(form for form in page.forms if ("decide", "rejected") in form.buttons)
        answer = sam.post(FORM, form.data(("decide", "rejected")))
        assert "Rejected as abusive Undo" in texts_of(page_after(sam, answer))
        decided = stored(hk, one).moderation
        assert (decided.status, decided.moderator, decided.reason) == (REJECTED, "Sam", "abusive")

    def test_both_want_the_same(self, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback]) -> None:
        """There is nothing left to decide."""
        one = hold()
        decide(priya, one, "rejected")
        text = texts_of(lose(sam, {"entry": entry(one), "decide": "rejected"}))
        assert "Priya rejected this 0 s ago. Your rejection was not needed." in text
        assert "anyway" not in text

    def test_the_author_was_faster(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """A changed text must be read first; one that was taken back or erased cannot be decided."""
        changed, taken, erased = hold("casino 1"), hold("casino 2"), hold("casino 3")
        hk.collection.change("default", changed.id, Change(comment="casino 9"))
        hk.collection.withdraw("default", taken.id)
        hk.collection.erase(FeedbackQuery(feedback_id=erased.id).in_any_state())
        page = lose(sam, {"entry": entry(changed), "decide": "approved"})
        assert "Its author changed this 0 s ago. Your approval was not saved." in texts_of(page)
        assert current(page) == changed.id
        page = lose(sam, {"entry": entry(taken), "decide": "approved"})
        assert "Its author took this back 0 s ago. Your approval was not saved." in texts_of(page)
        assert "casino 2" not in page.text
        page = lose(sam, {"entry": entry(erased), "decide": "approved"})
        assert "This feedback does not exist any more." in texts_of(page)
        assert not hk.summary().total

    def test_undo_never_overrides_a_later_decision(
        self, hk: Harken, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback]
    ) -> None:
        """It is about the decision that the page showed."""
        one = hold()
        decide(sam, one, "approved")
        seen = stored(hk, one)
        decide(priya, seen, "rejected")
        page = lose(sam, {"entry": entry(seen), "undo": "yes"})
        assert "Priya rejected this 0 s ago. Your undo was not saved." in texts_of(page)
        assert stored(hk, one).moderation.status is REJECTED

    def test_a_link_claims_no_conflict(self, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback]) -> None:
        """That a decision was not saved is said only in answer to one, not by an address that someone sends."""
        one = hold()
        decide(priya, one, "approved")
        forged = f"{PAGE}?current={one.id}&wanted=rejected&seen=0&reason=words+of+others"
        assert sam.get(forged).status_code == 422
        page = lose(sam, {"entry": entry(one), "decide": "rejected"})
        assert "Your rejection was not saved." in texts_of(page)

    def test_a_long_reason_is_kept(self, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback]) -> None:
        """A reason that was not saved is in the page, however many bytes it would have in an address."""
        one, words = hold(), "理由" * 450
        decide(priya, one, "approved")
        page = lose(sam, {"entry": entry(one), "decide": "rejected", "reason": "other", "words": words})
        form = next(form for form in page.forms if ("decide", "rejected") in form.buttons)
        assert dict(form.fields)["words"] == words

    def test_the_version_that_was_held(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """If its author changed an entry that waits, the earlier words are shown, as they may be why it is held."""
        one = hold("click here")
        hk.collection.change("default", one.id, Change(comment=""))
        page = sam.page(PAGE)
        assert "Version 1 “click here” · until its author changed it" in texts_of(page)
        assert any(f"/dashboard/feedback/{one.id}" in link for link in links_of(page))


class TestToday:
    def test_several_are_undone_later(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """What was decided at once is one line of the list, which undoes all of it after a reload."""
        held = [hold(f"casino {number}", session=f"s{number}") for number in range(7)]
        fields = [*(("entry", entry(one)) for one in held), ("decide", "rejected"), ("reason", "spam")]
        sam.post(FORM, fields)
        page = sam.page(PAGE)
        assert "and 6 more · You rejected 7 as spam · 0 s ago Undo 7" in texts_of(page)
        undo = next(form for form in page.forms if ("undo", "yes") in form.buttons)
        assert "7 undone" in WebPage(sam.post(FORM, undo.data(("undo", "yes"))).text).text
        assert {stored(hk, one).moderation.status for one in held} == {PENDING}

    def test_all_are_listed(self, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """The latest are listed, and a link lists all of them."""
        for number in range(8):
            decide(sam, hold(f"casino {number}", session=f"s{number}"), "rejected")
        page = sam.page(PAGE)
        assert texts_of(page).count("You rejected ·") == 5
        (link,) = [link for link in links_of(page) if "today=all" in link and "current=" not in link]
        page = sam.page(link)
        assert texts_of(page).count("You rejected ·") == 8
        assert "Show all of today" not in texts_of(page)

    def test_what_was_taken_back(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """Words that an author took back are not listed, and the decision on them cannot be undone."""
        one = hold("casino secrets", tags=["private"])
        decide(sam, one, "approved")
        hk.collection.withdraw("default", one.id)
        for query in ("", "?tab=approved", f"?tab=approved&current={one.id}"):
            page = sam.page(f"{PAGE}{query}")
            assert "secrets" not in page.text
            assert "private" not in page.text
            assert "Its author took this back" in texts_of(page)
            assert ("undo", "yes") not in [button for form in page.forms for button in form.buttons]


class TestFilters:
    def test_the_menus_stay_on_the_tab(self, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """They add to the filters in use, and their numbers are those of the tab."""
        for number, agent in enumerate(("Ann", "Ann", "Ben")):
            decide(sam, hold(f"casino {number}", session=f"s{number}", agent_id=agent), "rejected")
        hold("my lawyer", agent_id="Cleo")
        page = sam.page(f"{PAGE}?tab=rejected")
        (link,) = [link for link in links_of(page) if "agent_id=Ann" in link]
        assert "Agent Ann 2 Ben 1 Author" in texts_of(page)
        assert "tab=rejected" in link
        assert "2 rejected" in texts_of(sam.page(link))
        page = sam.page(f"{PAGE}?held_by=legal")
        (link,) = [link for link in links_of(page) if "agent_id=Cleo" in link]
        assert "held_by=legal" in link
        form = next(form for form in page.forms if dict(form.fields).get("held_by"))
        assert dict(form.fields)["held_by"] == "legal"
        assert "Agent Cleo Author" in texts_of(page)
        assert "Agent" not in texts_of(sam.page(f"{PAGE}?tab=approved")).partition("Author")[0].partition("hand")[2]

    def test_what_to_do_if_nothing_fits(self, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """Each tab says what is missing there, and its filters can be removed without leaving it."""
        hold("click here")
        text = texts_of(sam.page(f"{PAGE}?author=nobody"))
        assert "Nothing fits all of these filters 1 waits without them. Remove them" in text
        for tab, words in (("rejected", "rejected"), ("approved", "approved by hand")):
            page = sam.page(f"{PAGE}?tab={tab}&author=nobody&zone=Asia%2FTokyo")
            assert f"Nothing {words} fits all of these filters Remove them" in texts_of(page)
            assert f"{PAGE}?zone=Asia%2FTokyo&tab={tab}" in links_of(page)
            assert f"Nothing is {words}." in texts_of(sam.page(f"{PAGE}?tab={tab}"))

    def test_a_search_has_the_same_words_as_elsewhere(self, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """A comment has words; it is not one of them."""
        hold("click here")
        assert "Comment has “click”" in texts_of(sam.page(f"{PAGE}?text=click"))


class TestSeveral:
    def test_similar_texts_are_selected(self, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """The link lists the entries with the same text, all of them selected."""
        alike = [hold("Best casino bonus of the whole wide world", session=f"s{number % 2}") for number in range(4)]
        hold("my lawyer")
        page = sam.page(f"{PAGE}?current={alike[1].id}")
        assert "4 times in 3 min, from 2 sessions select all 4" in texts_of(page)
        [link] = [link for link in links_of(page) if f"like={alike[1].id}" in link]
        page = sam.page(link)
        assert rows(page) == [one.id for one in alike]
        picks = next(form for form in page.forms if ("preview", "rejected") in form.buttons)
        assert [value for name, value in picks.fields if name == "entry"] == [entry(one) for one in alike]

    @pytest.mark.parametrize("number", [2, 40])
    def test_many_entries_take_one_read(self, clock: ManualClock, number: int) -> None:
        """Pages about several entries read them together, and compare their texts once."""
        calls = Calls()
        with (
            open_storage() as storage,
            harken.connect(calls.around(storage), clock=clock, policy=POLICY) as hk,
            served_at(hk, clock) as server,
        ):
            held = [hk.submit(f"s{one}", "up", "click here").feedback for one in range(number)]
            visitor, several = Visitor(server), [("entry", entry(one)) for one in held]
            calls.counts.clear()
            listed = visitor.page(f"{PAGE}?like={held[0].id}&current={held[0].id}")
            assert len(rows(listed)) == number
            assert (calls.counts["feedback.get"], calls.counts["feedback.get_many"]) == (2, 1)
            # Of one review: the entries of its session, and those with the same text.
            assert calls.counts["feedback.find"] == 2
            calls.counts.clear()
            preview = visitor.post(FORM, [*several, ("preview", "rejected")])
            assert f"All {number} can be decided" in preview.text
            assert (calls.counts["feedback.get"], calls.counts["feedback.get_many"]) == (0, 2)
            hk.collection.erase(hk.query().in_any_state())
            calls.counts.clear()
            lost = WebPage(visitor.post(FORM, [*several, ("decide", "rejected")]).text)
            assert f"{number} were not found" in texts_of(lost)
            # Each decision reads its own entry.
            assert (calls.counts["feedback.get"], calls.counts["feedback.get_many"]) == (number, 1)

    def test_another_moderator_decided_several(
        self, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback]
    ) -> None:
        """The outcome counts them, in a sentence about several entries."""
        held = [hold(f"casino {number}", session=f"s{number}") for number in range(3)]
        for one in held[:2]:
            decide(priya, one, "approved")
        fields = [*(("entry", entry(one)) for one in held), ("decide", "rejected"), ("reason", "spam")]
        page = WebPage(sam.post(FORM, fields).text)
        assert "1 rejected, 2 were decided by Priya meanwhile" in texts_of(page)
        assert texts_of(page).count("Priya approved this meanwhile") == 2

    def test_a_name_in_the_outcome_of_several(
        self, hk: Harken, sam: Visitor, moderator: Callable[..., Visitor], hold: Callable[..., Feedback]
    ) -> None:
        """A name is never changed, even if it contains words of the sentence."""
        team = moderator("QA was its units")
        held = [hold(f"casino {number}", session=f"s{number}") for number in range(5)]
        for one in held[:2]:
            decide(team, one, "approved")
        for one in held[2:4]:
            hk.withdraw(one.id)
        fields = [*(("entry", entry(one)) for one in held), ("decide", "rejected"), ("reason", "spam")]
        text = texts_of(WebPage(sam.post(FORM, fields).text))
        assert "1 rejected, 2 were decided by QA was its units meanwhile, 2 were withdrawn by their authors" in text

    def test_they_are_previewed_decided_and_undone(
        self, hk: Harken, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback]
    ) -> None:
        """The preview changes nothing and says what would; the outcome names each that another decided."""
        hk.submit("s", "down", "slow", agent_id="Ann")
        held = [hold(f"casino {number}", agent_id="Ann", session=f"s{number % 9}") for number in range(11)]
        fields = [("entry", entry(one)) for one in held]
        preview = WebPage(sam.post(FORM, [*fields, ("preview", "approved")]).text)
        assert "Approve 11? All 11 can be decided. 9 sessions, 11 texts. Ann 0% → 92%." in texts_of(preview)
        assert stored(hk, held[0]) == held[0]
        preview = WebPage(sam.post(FORM, [*fields, ("preview", "rejected")]).text)
        assert "No statistics change." in texts_of(preview)
        decide(priya, held[3], "approved")
        form = next(form for form in preview.forms if ("decide", "rejected") in form.buttons)
        outcome = sam.post(FORM, form.data(("decide", "rejected"), reason="spam"))
        assert outcome.status_code == 200
        page = WebPage(outcome.text)
        assert "10 rejected, 1 was decided by Priya meanwhile Undo 10 Z" in texts_of(page)
        assert "“casino 3” Priya approved this meanwhile" in texts_of(page)
        assert {stored(hk, one).moderation.moderator for one in held} == {"Sam", "Priya"}
        # A reload sends the form again.
        again = WebPage(sam.post(FORM, form.data(("decide", "rejected"), reason="spam")).text)
        assert "10 rejected, 1 was decided by Priya meanwhile" in texts_of(again)
        undo = next(form for form in page.forms if ("undo", "yes") in form.buttons)
        page = WebPage(sam.post(FORM, undo.data(("undo", "yes"))).text)
        assert "10 undone" in texts_of(page)
        assert "10 wait for a decision" in texts_of(page)
        assert stored(hk, held[3]).moderation.status is APPROVED

    def test_cancel_keeps_the_selection(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """After the preview, the same entries are selected, on the same page of the list."""
        held = [hold(f"casino {number}") for number in range(4)]
        picked = [entry(one) for one in held[1:3]]
        preview = WebPage(sam.post(f"{FORM}?held_by=spam+phrases", {"entry": picked, "preview": "approved"}).text)
        form = next(form for form in preview.forms if ("cancel", "yes") in form.buttons)
        answer = sam.post(f"{FORM}?held_by=spam+phrases", form.data(("cancel", "yes")))
        assert answer.status_code == 200
        picks = next(form for form in WebPage(answer.text).forms if ("preview", "approved") in form.buttons)
        assert [value for name, value in picks.fields if name == "entry"] == picked
        assert [stored(hk, one) for one in held] == held

    def test_the_preview_counts_what_still_waits(
        self, sam: Visitor, priya: Visitor, hold: Callable[..., Feedback]
    ) -> None:
        """It decides on no more than it has counted."""
        one, two = hold("casino 1"), hold("casino 2")
        decide(priya, one, "rejected")
        page = WebPage(sam.post(FORM, {"entry": [entry(one), entry(two)], "preview": "rejected"}).text)
        assert "Reject 1? 1 of 2 can be decided." in texts_of(page)
        assert "Priya rejected" in texts_of(page)
        form = next(form for form in page.forms if ("decide", "rejected") in form.buttons)
        assert ("entry", entry(two)) in form.fields

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"preview": "rejected"}, 422),
            ({"decide": "approved", "entry": "x"}, 422),
            ({"decide": "approved", "entry": "-1:x"}, 422),
            ({"decide": "approved", "entry": f"{10**30}:x"}, 422),
            ({"decide": "later", "entry": "1:x"}, 422),
            ({"preview": "pending", "entry": "1:x"}, 422),
            ({"decide": "approved", "entry": [f"1:{number}" for number in range(501)]}, 400),
            ({"decide": "approved", "entry": "\n".join(f"1:{number}" for number in range(501))}, 400),
            ({"decide": "rejected", "entry": "1:x", "reason": "other", "words": "a\0b"}, 422),
            ({"decide": "rejected", "entry": "1:x", "reason": "other", "words": "x" * 1_001}, 422),
        ],
    )
    def test_invalid_forms(self, sam: Visitor, fields: Any, status: int) -> None:
        """The error page says what was expected."""
        answer = sam.post(FORM, fields)
        assert answer.status_code in {status, 422}, answer.text
        assert "<h1" in answer.text


class TestAccess:
    def test_only_moderators_see_it(self, hk: Harken, moderator: Callable[..., Visitor], server: Server) -> None:
        """Others learn which scope they need, and no page offers it."""
        given = hk.submit("s", "up", "fine").feedback
        reader = moderator("Rita", "read")
        assert reader.get(PAGE).status_code == 403
        assert reader.post(FORM, {"entry": entry(given), "decide": "rejected"}).status_code == 403
        assert not [link for link in links_of(reader.page("/dashboard/feedback")) if "moderation" in link]
        assert "Reject" not in texts_of(reader.page(f"/dashboard/feedback/{given.id}"))
        assert stored(hk, given).is_counted
        assert Visitor(server).get(PAGE).headers["location"].startswith("/sign-in")

    def test_a_moderator_who_may_not_read(
        self, moderator: Callable[..., Visitor], hold: Callable[..., Feedback]
    ) -> None:
        """The page works, without links to pages that they may not see, and does not listen to events."""
        one = hold()
        visitor = moderator("Mo", "moderate")
        page = visitor.page(PAGE)
        assert not [link for link in links_of(page) if "/dashboard/feedback" in link]
        assert not [found for _, found in page.elements if "data-events" in found]
        decide(visitor, one, "approved")

    def test_keys_limited_to_agents_see_only_theirs(
        self, hk: Harken, moderator: Callable[..., Visitor], hold: Callable[..., Feedback]
    ) -> None:
        """Nothing of other agents is listed, counted, reviewed or decided."""
        other = hold("Best casino bonus of the whole wide world", agent_id="Bob", author="jo", session="x")
        mine = hold("Best casino bonus of the whole wide world", agent_id="Ann", author="jo", session="x")
        ann = moderator("Ann's", agents=["Ann"])
        page = ann.page(PAGE)
        text = texts_of(page)
        assert rows(page) == [mine.id]
        assert "1 waits for a decision" in text
        assert "Moderation 1 waiting" in text
        assert "jo · nothing before" in text
        assert "x · 1 response" in text
        assert "Same text" not in text
        assert "What rules caught" not in text
        page = ann.page(f"{PAGE}?current={other.id}")
        assert "This feedback does not exist any more." in texts_of(page)
        assert other.id not in [found.get("data-feedback") for _, found in page.elements]
        page = lose(ann, {"entry": entry(other), "decide": "approved"})
        assert "This feedback does not exist any more." in texts_of(page)
        preview = ann.post(FORM, {"entry": [entry(other), entry(mine)], "preview": "approved"}).text
        assert "Approve 1?" in preview
        assert "Bob" not in preview
        ann.post(FORM, {"entry": [entry(other), entry(mine)], "decide": "approved"})
        assert (stored(hk, other).version, stored(hk, mine).version) == (1, 2)
        assert ann.get(f"{PAGE}?agent_id=Bob").status_code == 403
        decided = hk.moderation.decide("default", other.id, "rejected", moderator="Bo")
        assert decided.id not in ann.page(f"{PAGE}?tab=rejected").text
        assert rows(ann.page(f"{PAGE}?like={other.id}")) == []

    def test_applications_are_separate(
        self, hk: Harken, sam: Visitor, moderator: Callable[..., Visitor], hold: Callable[..., Feedback]
    ) -> None:
        """A moderator of another application sees and decides nothing of this one."""
        one = hold()
        theirs = hold("casino", application="other")
        visitor = moderator("Otto", application="other")
        page = visitor.page(PAGE)
        assert (rows(page), current(page)) == ([theirs.id], theirs.id)
        assert "This feedback does not exist any more." in texts_of(visitor.page(f"{PAGE}?current={one.id}"))
        lose(visitor, {"entry": entry(one), "decide": "approved"})
        assert stored(hk, one).version == 1
        assert sam.get(f"{PAGE}?application=other").status_code == 403

    def test_forms_of_other_sites_are_refused(self, hk: Harken, sam: Visitor, hold: Callable[..., Feedback]) -> None:
        """A page of another site cannot decide in a moderator's browser."""
        one = hold()
        fields = {"entry": entry(one), "decide": "approved"}
        assert sam.post(FORM, fields, Origin="https://evil.example").status_code == 403
        assert stored(hk, one) == one


def test_hostile_comments_are_text(clock: ManualClock) -> None:
    """In the list, in the current entry, in the preview and in what was decided, comments are only text."""
    everything = RatingPolicy(hold=(lambda _: [Violation("comment", "all", "All", spans=((0, 3), (2, 900)))],))
    with harken.connect("memory://", clock=clock, policy=everything) as other:
        held = [
            other.submit(f"s{number}", "down", text, agent_id=f"<b>{number}", author="a").feedback
            for number, text in enumerate(TEXTS)
        ]
        with served_at(other, clock, access="keys") as server:
            visitor = Visitor.signed_in(server, other.keys.create("default", ["read", "moderate"], name="<b>").text)
            for one in held[::2]:
                page = visitor.page(f"{PAGE}?current={one.id}")
                assert len(page.attributes("script")) == 1
                assert not page.attributes("img")
                assert not [found for _, found in page.elements if any(name.startswith("on") for name in found)]
                assert "".join(one.comment.split()) in "".join(page.text.split())
                decide(visitor, one, "rejected", reason="other", words=one.comment)
            preview = visitor.post(FORM, [*(("entry", entry(one)) for one in held), ("preview", "approved")])
            assert len(WebPage(preview.text).attributes("script")) == 1
            assert len(visitor.page(f"{PAGE}?tab=rejected").attributes("script")) == 1


def test_the_page_is_small(sam: Visitor, hold: Callable[..., Feedback]) -> None:
    """At most 10 KB compressed, with a full list, and three requests more: style sheet and modules."""
    for number in range(40):
        hold(f"casino {number} " + "words that people write about an answer " * 4)
    answer = sam.get(PAGE)
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 10_000


def test_a_get_of_the_forms_leads_to_the_page(sam: Visitor) -> None:
    """Reload works after a form whose answer was shown in place."""
    answer = sam.get(f"{FORM}?{urlencode({'agent_id': 'Ann', 'tab': 'rejected'})}")
    assert answer.headers["location"] == f"{PAGE}?agent_id=Ann&tab=rejected"


@pytest.mark.parametrize("text", ["none", "a\0b", "\ud7ff\ue000", "x" * 3_000, "../..", "<b>", "1:2"])
@pytest.mark.parametrize("name", ["current", "like", "held_by", "decided"])
def test_addresses_that_lead_nowhere(sam: Visitor, hold: Callable[..., Feedback], name: str, text: str) -> None:
    """For every name in a link, the page shows the queue, or says what is wrong with the link."""
    hold()
    query = urlencode({name: f"1:{text}" if name == "decided" else text})
    answer = sam.get(f"{PAGE}?{query}")
    assert answer.status_code in {200, 422}, answer.text
    page = WebPage(answer.text)
    assert len(page.attributes("h1")) == 1


@pytest.mark.parametrize("host", HOSTS)
def test_every_web_host_takes_its_forms(hk: Harken, hold: Callable[..., Feedback], host: str) -> None:
    """Decisions, previews and undo do the same on each."""
    one, two = hold("casino 1"), hold("casino 2")
    with HOSTS[host](hk, access="keys") as server:
        visitor = Visitor.signed_in(server, hk.keys.create("default", ["read", "moderate"], name="Sam").text)
        answer = decide(visitor, one, "rejected", f"?current={one.id}", reason="spam")
        page = page_after(visitor, answer)
        assert (rows(page), current(page)) == ([two.id], two.id)
        assert visitor.get(FORM).headers["location"] == PAGE
        preview = visitor.post(FORM, {"entry": entry(two), "preview": "approved"})
        assert "Approve 1?" in preview.text
        undone = page_after(visitor, visitor.post(FORM, {"entry": entry(stored(hk, one)), "undo": "yes"}))
        assert rows(undone) == [one.id, two.id]
