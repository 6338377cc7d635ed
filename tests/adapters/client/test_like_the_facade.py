"""The clients have the methods, values and exceptions of the facade: the same cases run on all three."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from clients import KINDS, opened, without_keys
from harken import (
    Change,
    Feedback,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    GroupBy,
    Harken,
    HarkenError,
    IdempotencyConflict,
    InvalidQuery,
    ModerationStatus,
    Rating,
    RatingPolicy,
    StaleFeedback,
    Summary,
)
from harken.domain.query import Dimension
from hosts.serving import Server, served
from support import NOON, ManualClock, a_submission, counting_ids

TOPICS = (
    "The delivery was slow",
    "Lost my luggage",
    "Wrong price shown",
    "The operator was rude",
    "The app crashed twice",
    "Refund never arrived",
    "Confusing menu",
)
ODD_TEXTS = ("ü \u2028 \u0085 \x0b x", "\U0001f600", "a\r\nb", "\u202eabc", "'\"\\", "x" * 900)


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """The Harken of the test, served with open access."""
    with served(hk) as serving:
        yield serving


@pytest.fixture(params=["facade", "client", pytest.param("async client", marks=pytest.mark.slow)])
def one(request: pytest.FixtureRequest, hk: Harken) -> Iterator[Any]:
    """The facade, or a client of it."""
    if request.param == "facade":
        yield hk
        return
    server = request.getfixturevalue("server")
    with opened(request.param, server.url) as client:
        yield client


@pytest.fixture
def filled(hk: Harken, clock: ManualClock) -> Harken:
    """Three weeks of feedback by several authors about three agents, which became better."""
    hk.collection.submit_many(
        [
            a_submission(
                f"s{number % 40}",
                "up" if (number * 7) % 10 < (3 if day < 11 else 8) else ("down" if number % 9 else None),
                TOPICS[number % 7] if number % 3 else "",
                agent_id=f"agent {number % 3}" if number % 7 else None,
                message_id=f"m{number}",
                author=f"author {number % 11}" if number % 4 else None,
                tags=["slow", "wrong"][: number % 3] or (["other"] if number % 3 == 0 else ()),
                context={"tier": ["free", 1, 1.5, True, "1"][number % 5]},
                created_at=NOON - timedelta(days=22 - day, minutes=13 * number),
            )
            for day in range(22)
            for number in range(30)
        ]
    )
    clock.turn(minutes=1)
    return hk


def error_of(call: Any) -> HarkenError:
    """The exception that a call raises."""
    with pytest.raises(HarkenError) as raised:
        call()
    return raised.value


# --- Writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_what_is_submitted_is_stored(one: Any, hk: Harken, text: str) -> None:
    """Every argument arrives; the receipt has the stored feedback."""
    receipt = one.submit(
        "s",
        "down",
        text,
        agent_id="ä",
        message_id="m/1",
        author="ann",
        tags=("t", "u"),
        context={"tier": "free", "n": 1, "x": 1.5, "b": True, "z": None},
        idempotency_key="kü ÿ",
    )
    assert not receipt.duplicate
    stored = hk.get(receipt.feedback.id)
    assert without_keys(receipt.feedback) == without_keys(stored)
    assert (stored.comment, stored.idempotency_key) == (text.strip(), "kü ÿ")
    assert (stored.agent_id, stored.message_id, stored.author, stored.tags) == ("ä", "m/1", "ann", ("t", "u"))
    assert stored.context == {"tier": "free", "n": 1, "x": 1.5, "b": True, "z": None}


@pytest.mark.parametrize("session_id", ["a/b", ".", "..", "a b", "%2F", "a?b#c", "ü", "+", "a%", "\\", ":", "*", "~"])
def test_any_session_id(one: Any, hk: Harken, session_id: str) -> None:
    """A session may have any id, also one that is special in URLs."""
    assert one.submit(session_id, "up").feedback.session_id == session_id
    assert one.summary(session_id=session_id) == hk.summary(session_id=session_id) == hk.summary()


@pytest.mark.parametrize("key", ["k", '"k"', '"', '""', " k ", "a\\b", '"\\"', '"a\\"b"', "é"])
def test_an_idempotency_key(one: Any, hk: Harken, key: str) -> None:
    """The same key and body are stored once, and the key is stored unchanged; another body is refused."""
    first, second = one.submit("s", "up", idempotency_key=key), one.submit("s", "up", idempotency_key=key)
    assert [first.duplicate, second.duplicate] == [False, True]
    assert first.feedback == second.feedback
    assert hk.get(first.feedback.id).idempotency_key == key
    error = error_of(lambda: one.submit("s", "down", "Slow", idempotency_key=key))
    assert type(error) is IdempotencyConflict
    assert "used before" in str(error)


def test_without_a_key_equal_submissions_are_two(one: Any, hk: Harken) -> None:
    """Submissions without a key are separate, however equal they are."""
    assert not one.submit("s", "up").duplicate
    assert not one.submit("s", "up").duplicate
    assert hk.summary().total == 2


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("s", "down"), {}),
        (("s", "sideways"), {}),
        (("s", 5), {}),
        (("s", True), {}),
        (("", "up"), {}),
        ((None, "up"), {}),
        (("s" * 300, "up"), {}),
        (("a\nb", "up"), {}),
        (("a\ud800b", "up"), {}),
        (("s", "up", 5), {}),
        (("s", "up", None), {}),
        (("s", "up", "a\0b"), {}),
        (("s", "up", "a\ud800b"), {}),
        (("s", "up", "x" * 30_000), {}),
        (("s", "up", "Click here"), {}),
        (("s", "up"), {"agent_id": ""}),
        (("s", "up"), {"message_id": 5}),
        (("s", "up"), {"author": ["a"]}),
        (("s", "up"), {"tags": "t"}),
        (("s", "up"), {"tags": b"t"}),
        (("s", "up"), {"tags": {"t"}}),
        (("s", "up"), {"tags": None}),
        (("s", "up"), {"tags": ["", "t" * 300]}),
        (("s", "up"), {"tags": [f"t{n}" for n in range(100)]}),
        (("s", "up"), {"context": {"a b": 1}}),
        (("s", "up"), {"context": {1: 1}}),
        (("s", "up"), {"context": {"a": object()}}),
        (("s", "up"), {"context": {"a": [1]}}),
        (("s", "up"), {"context": {"a": float("nan")}}),
        (("s", "up"), {"context": {"a": 2**70}}),
        (("s", "up"), {"context": [1]}),
        (("s", "up"), {"context": "x"}),
        (("s", "up"), {"context": {"a": datetime(2026, 1, 1, tzinfo=UTC)}}),
        (("s", "up"), {"idempotency_key": ""}),
        (("s", "up"), {"idempotency_key": "k\n"}),
        (("s", "up"), {"application": ""}),
        (("s", "up"), {"application": "a\nb"}),
    ],
)
def test_what_the_facade_rejects(hk: Harken, server: Server, arguments: Any, keywords: Any) -> None:
    """A client raises the same exception as the facade, with the same violations, and nothing is stored."""
    expected = error_of(lambda: hk.submit(*arguments, **keywords))
    assert isinstance(expected, FeedbackRejected)
    for kind in KINDS[1:]:
        with opened(kind, server.url) as client:
            error = error_of(lambda client=client: client.submit(*arguments, **keywords))
        assert type(error) is type(expected)
        assert isinstance(error, FeedbackRejected)
        assert error.violations == expected.violations
    assert hk.summary() == Summary()


def test_a_misspelt_keyword(one: Any) -> None:
    """An unknown keyword or filter is a ``TypeError``, as for any function."""
    for call in (
        lambda: one.submit("s", "up", agent="a"),
        lambda: one.vote("s", "up", author="a", agent="a"),
        lambda: one.summary(agent="a"),
        lambda: one.export(agent="a"),
    ):
        with pytest.raises(TypeError, match="agent"):
            call()


def test_votes(one: Any, hk: Harken) -> None:
    """An author has one vote on a message, and one on the session; both can be withdrawn and cast again."""
    first = one.vote("s", "up", author="ann", message_id="m", agent_id="a", tags=["t"])
    changed = one.vote("s", "down", "Slow", author="ann", message_id="m")
    again = one.vote("s", "down", "Slow", author="ann", message_id="m")
    assert [(each.duplicate, each.feedback.version) for each in (first, changed, again)] == [
        (False, 1),
        (False, 2),
        (True, 2),
    ]
    on_session = one.vote("s", Rating.UP, author="ann", context={"a": 1})
    assert without_keys(one.votes("s", author="ann")) == without_keys(hk.votes("s", author="ann"))
    assert [vote.id for vote in one.votes("s", author="ann")] == [first.feedback.id, on_session.feedback.id]
    withdrawn = one.withdraw_vote("s", author="ann", message_id="m")
    assert without_keys(withdrawn) == without_keys(hk.get(first.feedback.id))
    assert withdrawn.withdrawn
    assert one.withdraw_vote("s", author="ann", message_id="m") is None
    assert one.withdraw_vote("s", author="bob") is None
    assert one.withdraw_vote("s", author="ann").id == on_session.feedback.id
    assert one.votes("s", author="ann") == []
    assert one.vote("s", None, author="ann", message_id="m").feedback.version == 4
    assert type(error_of(lambda: one.vote("s", "down", author="ann"))) is FeedbackRejected
    assert error_of(lambda: one.vote("s", "up", author=None)).violations[0].code == "required"  # type: ignore[attr-defined]


def test_changing(one: Any, hk: Harken, clock: ManualClock) -> None:
    """A change returns the new version. If the version is not the current one, or withdrawn, it is refused."""
    known = one.submit("s", "up", tags=["t"], context={"a": 1}).feedback
    clock.turn(seconds=1)
    changed = one.change(known.id, Change(rating="down", comment="Slow"), expected_version=1)
    assert without_keys(changed) == without_keys(hk.get(known.id))
    assert (changed.version, changed.rating, changed.tags) == (2, Rating.DOWN, ())
    assert one.change(known.id, Change(tags=("u",), context={"b": None})).tags == ("u",)
    assert type(error_of(lambda: one.change(known.id, Change(rating=None), expected_version=1))) is StaleFeedback
    rejected = error_of(lambda: one.change(known.id, Change(rating="sideways", tags="t")))
    assert isinstance(rejected, FeedbackRejected)
    assert {each.field for each in rejected.violations} == {"rating", "tags"}
    assert isinstance(error_of(lambda: one.change(known.id, Change(context={"a": {1}}))), FeedbackRejected)
    gone = one.withdraw(known.id)
    assert gone.withdrawn
    assert one.withdraw(known.id) == gone
    assert type(error_of(lambda: one.change(known.id, Change(comment="x")))) is FeedbackWithdrawn


@pytest.mark.parametrize("feedback_id", ["nope", "", "a/b", "..", "a\0b", "é", "x" * 20_000])
def test_feedback_that_does_not_exist(one: Any, feedback_id: str) -> None:
    """The exception has the application and the id."""
    for call in (one.get, one.withdraw, lambda which: one.change(which, Change(comment="x"))):
        error = error_of(lambda call=call: call(feedback_id))
        assert type(error) is FeedbackNotFound
        assert (error.application, error.feedback_id) == ("default", feedback_id)  # type: ignore[attr-defined]


def test_applications(one: Any, hk: Harken) -> None:
    """Every method takes an application, and nothing of another one is seen."""
    shop = one.submit("s", "up", application="shop ü/")
    assert shop.feedback.application == "shop ü/"
    one.vote("s", "up", author="ann", application="shop ü/")
    assert one.summary() == Summary()
    assert one.summary(application="shop ü/") == hk.summary(application="shop ü/")
    assert one.get(shop.feedback.id, application="shop ü/").application == "shop ü/"
    assert type(error_of(lambda: one.get(shop.feedback.id))) is FeedbackNotFound
    assert error_of(lambda: one.get("nope", application="shop ü/")).application == "shop ü/"  # type: ignore[attr-defined]
    assert one.votes("s", author="ann") == []
    assert len(one.votes("s", author="ann", application="shop ü/")) == 1
    assert one.feedback(application="shop ü/").items[0].application == "shop ü/"
    assert {each.application for each in one.export(application="shop ü/")} == {"shop ü/"}
    assert one.change(shop.feedback.id, Change(comment="x"), application="shop ü/").version == 2
    assert one.withdraw_vote("s", author="ann", application="shop ü/").application == "shop ü/"
    assert one.withdraw(shop.feedback.id, application="shop ü/").withdrawn


def test_moderated_feedback(one: Any, hk: Harken) -> None:
    """The moderation decision is part of the feedback."""
    known = one.submit("s", "up").feedback
    hk.moderation.decide(
        "default", known.id, ModerationStatus.REJECTED, moderator="mod", reason="odd", expected_version=1
    )
    assert without_keys(hk.get(known.id)) == one.get(known.id) or one is hk
    assert one.get(known.id).moderation.reason == "odd"


# --- Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"rating": "down"},
        {"rating": None},
        {"rating": Rating.UP, "agent_id": "agent 1"},
        {"tag": "slow"},
        {"text": "comment"},
        {"text": "comment", "agent_id": ["agent 1", "agent 2"], "rating": ["up", None], "has_comment": True},
        {"text": '"number é" &=+#'},
        {"author": "author 3"},
        {"session_id": "s7"},
        {"message_id": "m5"},
        {"context": {"tier": 1}},
        {"context": {"tier": True}},
        {"context": {"tier": 1.5}},
        {"since": NOON - timedelta(days=9), "until": NOON - timedelta(days=3, microseconds=1)},
        {"since": datetime(2026, 2, 20, tzinfo=UTC).astimezone()},
        {"agent_id": ""},
        {"agent_id": "nobody ü &=+#"},
        {"agent_id": ["agent 1", "agent 2", "nobody"]},
        {"rating": ["down", None], "has_comment": True},
        {"tag": {"slow": 1, "wrong": 2}.keys(), "has_comment": False},
        {"context": {"tier": [1, True, "1.5"]}},
    ],
    ids=repr,
)
def test_filters(one: Any, filled: Harken, filters: Any) -> None:
    """Every filter selects the same feedback, in lists, exports and statistics; all values are equal bit for bit."""
    assert without_keys(one.feedback(**filters)) == without_keys(filled.feedback(**filters))
    assert list(one.export(**filters)) == list(filled.export(**filters))
    assert one.summary(**filters) == filled.summary(**filters)
    assert one.estimate(**filters) == filled.estimate(**filters)


def test_pages(one: Any, filled: Harken) -> None:
    """The pages follow one another, by cursor or by its text."""
    found: list[Feedback] = []
    page = one.feedback(limit=250)
    while True:
        found += page.items
        if page.next is None:
            break
        page = one.feedback(limit=250, after=page.next if len(found) < 300 else str(page.next))
    assert without_keys(found) == without_keys(list(reversed(list(filled.export()))))


def test_statistics(one: Any, filled: Harken) -> None:
    """All statistics are equal bit for bit, and so are the values that are computed from them."""
    for by in ("agent", "session", "tag", "context.tier", GroupBy(Dimension.AGENT)):
        assert list(one.groups(by).items()) == list(filled.groups(by).items())
        assert list(one.compare_groups(by).items()) == list(filled.compare_groups(by).items())
    for period in ("hour", "3-hours", "6-hours", "day", "week", harken.Period.WEEK):
        for zone in ("UTC", "Asia/Kathmandu", "America/Sao_Paulo"):
            expected = filled.trend(period, zone, agent_id="agent 1")
            found = one.trend(period, zone, agent_id="agent 1")
            assert found == expected
            assert [str(point.start) for point in found] == [str(point.start) for point in expected]
    assert one.changes("Europe/Berlin") == filled.changes("Europe/Berlin") != []
    assert one.heat_map("Europe/Berlin") == filled.heat_map("Europe/Berlin")
    recent = {"since": NOON - timedelta(days=5)}
    assert one.heat_map(prefer_dates=True, **recent) == filled.heat_map(prefer_dates=True, **recent)
    assert one.heat_map(prefer_dates=True, **recent)[0].day is not None
    before: Any = {"until": NOON - timedelta(days=11), "context": {"tier": "free"}}
    after: Any = {"since": NOON - timedelta(days=11), "agent_id": None}
    comparison = one.compare(before, after, agent_id="agent 1")
    assert comparison == filled.compare(before, after, agent_id="agent 1")
    assert comparison.sentence == filled.compare(before, after, agent_id="agent 1").sentence
    assert one.compare({}, {}) == filled.compare({}, {})
    assert one.compare(before, before) == filled.compare(before, before)
    assert one.compare_to_previous(**recent) == filled.compare_to_previous(**recent)


def test_themes(one: Any, filled: Harken) -> None:
    """Themes have their changes and examples; keywords are counted."""
    recent = {"since": NOON - timedelta(days=10)}
    for filters in ({}, recent):
        found, expected = one.themes(limit=5, **filters), filled.themes(limit=5, **filters)
        assert expected.themes
        expected_themes = tuple(
            evolve(
                each,
                theme=evolve(each.theme, comments=each.theme.comments if one is filled else frozenset()),
                examples=each.examples if one is filled else tuple(map(without_keys, each.examples)),
            )
            for each in expected.themes
        )
        assert found == evolve(expected, themes=expected_themes)
    assert one.themes(["slow", "LOST", "never"]) == filled.themes(["slow", "LOST", "never"]) != ()
    assert one.themes("slow") == filled.themes("slow")


def test_overview(one: Any, filled: Harken) -> None:
    """The headline, reasons, rankings and facets are equal, with all that is computed from them."""
    for period in ({}, {"since": NOON - timedelta(days=6), "until": NOON}, {"rating": "down"}):
        assert one.headline("Europe/Berlin", **period) == filled.headline("Europe/Berlin", **period)
        assert one.headline(same_weekdays=True, **period) == filled.headline(same_weekdays=True, **period)
    recent = {"since": NOON - timedelta(days=6), "until": NOON}
    found, expected = one.reasons(limit=3, **recent), filled.reasons(limit=3, **recent)
    assert expected.issues
    without = [evolve(each, example=each.example and without_keys(each.example)) for each in expected.issues]
    assert [evolve(each, example=each.example and without_keys(each.example)) for each in found.issues] == without
    assert evolve(found, issues=()) == evolve(expected, issues=())
    for by in ("agent", "context.tier"):
        assert one.ranking(by, **recent) == filled.ranking(by, **recent)
    assert one.facets() == filled.facets()
    assert one.facets(agent_id="agent 1", tag="slow") == filled.facets(agent_id="agent 1", tag="slow")


def test_summaries_can_be_merged(one: Any, filled: Harken) -> None:
    """The sum of the parts is the whole."""
    assert sum(one.groups("agent").values(), Summary()) == filled.summary() == one.summary()


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.feedback(limit=0),
        lambda one: one.feedback(limit=1_001),
        lambda one: one.feedback(after="?"),
        lambda one: one.feedback(rating="sideways"),
        lambda one: one.feedback(agent_id=[]),
        lambda one: one.feedback(has_comment="yes"),
        lambda one: one.summary(tag=["tag"] * 101),
        lambda one: one.summary(agent_id="a\0"),
        lambda one: one.summary(since=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda one: one.summary(context={"a b": 1}),
        lambda one: one.groups("planet"),
        lambda one: one.groups("context."),
        lambda one: one.trend("month"),
        lambda one: one.trend("weekday"),
        lambda one: one.trend(zone="Mars/Base"),
        lambda one: one.changes("a\ud800"),
        lambda one: one.heat_map("\0"),
        lambda one: one.themes(limit=51),
        lambda one: one.headline("Mars/Base"),
        lambda one: one.headline(since=NOON, until=NOON),
        lambda one: one.reasons(limit=51),
        lambda one: one.ranking("session"),
        lambda one: one.facets(tag="\ud800"),
        lambda one: one.compare_to_previous(),
        lambda one: one.compare_to_previous(since=NOON, until=NOON),
        lambda one: one.events("?"),
        lambda one: one.export(tag="\ud800"),
    ],
)
def test_invalid_queries(one: Any, call: Any) -> None:
    """What the facade calls invalid, a client calls invalid."""
    assert type(error_of(lambda: call(one))) is InvalidQuery


def test_other_rules(clock: ManualClock) -> None:
    """The rules of the server apply, and held feedback is pending in the receipt."""
    policy = RatingPolicy.standard(spam="hold", reason_when_down=False)
    with harken.connect("memory://", policy=policy, clock=clock, new_id=counting_ids()) as hk, served(hk) as server:
        for kind in KINDS[1:]:
            with opened(kind, server.url) as client:
                assert client.submit("s", "down").feedback.rating is Rating.DOWN
                held = client.submit("s", "up", "click here").feedback
                assert held.moderation.status is ModerationStatus.PENDING
                assert held == without_keys(hk.get(held.id))


@pytest.mark.slow
@given(st.lists(st.sampled_from(["up", "down", None]), max_size=6), st.data())
def test_any_sequence_of_votes(ratings: list[Any], data: st.DataObject) -> None:
    """Votes, withdrawals and changes in any order leave the same feedback as on the facade."""
    steps = [
        (data.draw(st.sampled_from(["vote", "withdraw_vote"])), rating, data.draw(st.sampled_from(["m", None])))
        for rating in ratings
    ]
    outcomes = []
    for kind in KINDS[:2]:
        with harken.connect("memory://", clock=ManualClock(), new_id=counting_ids()) as hk, served(hk) as server:
            with opened("client", server.url) as client:
                one = hk if kind == "facade" else client
                for step, rating, message_id in steps:
                    if step == "vote":
                        one.vote("s", rating, "why", author="a", message_id=message_id)
                    else:
                        one.withdraw_vote("s", author="a", message_id=message_id)
            outcomes.append([without_keys(each) for each in hk.collection.stream(hk.query().in_any_state())])
    assert outcomes[0] == outcomes[1]
