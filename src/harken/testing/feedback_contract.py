"""Contract tests for feedback repositories: storing, finding, changing and erasing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from attrs import evolve

from harken.domain.erasure import Erased
from harken.domain.errors import FeedbackNotFound, StaleFeedback
from harken.domain.events import Event, EventType
from harken.domain.feedback import Content, Context, Feedback, Rating, Sentiment
from harken.domain.instants import MICROSECOND
from harken.domain.moderation import Moderation, ModerationStatus, RuleMatch
from harken.domain.query import FeedbackQuery
from harken.domain.summary import Summary
from harken.ports.repository import Conflict, DuplicateOf, SessionEntry, Stored, Taken
from harken.ports.storage import Storage
from harken.testing.assertions import at_once, check_raises, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, a_series, accepted, with_content

EVERYTHING = FeedbackQuery().in_any_state()
MINUTE = timedelta(minutes=1)
#: One value each that a session shows beside rating, comment and time.
_SINGLE: dict[str, Any] = {
    "message_id": "m",
    "agent_id": "a",
    "author": "bob",
    "tags": ("x",),
    "context": Context({"none": None}),
    "sentiment": Sentiment(0, 0),
    "idempotency_key": "other",
}


class FeedbackContract(FreshStorage):
    """Feedback is stored once and returned in order; no change is lost, and erased feedback is gone."""

    # --- storing ---------------------------------------------------------------------------------------------------

    def test_every_field_comes_back_equal(self) -> None:
        """Every field is returned unchanged, including unusual values."""
        full = a_feedback(
            "sesión ✓",
            message_id="message",
            agent_id="агент",
            rating=Rating.DOWN,
            comment="Zeile eins\r\n\tzwei '\"\\%_ 👎🏽 \u202e",
            author="ann",
            tags=("too slow", "it's wrong"),
            context=Context({"yes": True, "one": 1, "real": 1.0, "text": "1", "none": None, "most": 2**63 - 1}),
            sentiment=Sentiment(-0.123457, 0.999999),
            moderation=Moderation(
                status=ModerationStatus.APPROVED,
                reason="fine",
                moderator="mo",
                decided_at=NOON + MINUTE,
                previous=ModerationStatus.PENDING,
                previous_reason="long",
                held_by=(RuleMatch("spam phrases", ((0, 5), (14, 15))), RuleMatch("länge")),
                is_undo=True,
            ),
            reply="We are sorry",
            created_at=datetime(2026, 2, 3, 4, 5, 6, 999999, tzinfo=UTC),
            idempotency_key="key",
            fingerprint="body",
            vote=True,
        )
        changed = full.revised(Content(Rating.UP, tags=("x",), sentiment=Sentiment(1, 0)), at=NOON)
        changed = changed.moderated(Moderation(), at=NOON).withdraw(at=NOON + MINUTE)
        with self.open_storage() as storage:
            check_same(list(storage.feedback.add(accepted(full))), [Stored(full)])
            check_same(storage.feedback.get("default", full.id), full)
            storage.feedback.replace(evolve(changed, version=2), [])
            check_same(storage.feedback.get("default", full.id), evolve(changed, version=2))

    def test_applications_are_isolated(self) -> None:
        """Feedback of one application cannot be found, counted or erased through another application."""
        mine, other = a_feedback(), a_feedback(application="other")
        twin = evolve(other, id=mine.id)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(mine, other, twin))
            check_raises(FeedbackNotFound, lambda: storage.feedback.get("default", other.id))
            check_same(storage.feedback.find(FeedbackQuery(), limit=9).items, (mine,))
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.of(mine)})
            check_same(storage.feedback.erase(EVERYTHING, at=NOON), Erased(feedback=1))
            check_same(storage.feedback.get("other", mine.id), twin)

    def test_unknown_feedback_is_not_found(self) -> None:
        """An unknown id raises ``FeedbackNotFound``, for reading and for replacing."""
        with self.open_storage() as storage:
            check_raises(FeedbackNotFound, lambda: storage.feedback.get("default", "nobody"))
            check_raises(FeedbackNotFound, lambda: storage.feedback.replace(a_feedback(version=2), []))

    def test_several_entries_are_read_at_once(self) -> None:
        """``get_many`` returns the existing entries of the application in any state, and leaves out unknown ids."""
        series = a_series(300)
        hidden = a_feedback(moderation=Moderation(status=ModerationStatus.REJECTED)).withdraw(at=NOON)
        elsewhere = a_feedback(application="other")
        twin = evolve(with_content(series[0], comment="other"), application="other")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series, hidden, elsewhere, twin))
            wanted = [one.id for one in (*series[:250], hidden, elsewhere)] + ["nobody", series[0].id]
            expected = {one.id: one for one in (*series[:250], hidden)}
            found = storage.feedback.get_many("default", wanted)
            check_same(sorted(found.items()), sorted(expected.items()))
            check_same(dict(storage.feedback.get_many("other", {twin.id})), {twin.id: twin})
            check_same(dict(storage.feedback.get_many("default", [])), {})
            check_same(dict(storage.feedback.get_many("nobody", wanted)), {})

    # --- duplicates ------------------------------------------------------------------------------------------------

    def test_the_same_feedback_again_is_a_duplicate(self) -> None:
        """The same id with the same content is a duplicate; with other content it is a conflict."""
        one = a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            outcomes = storage.feedback.add(accepted(one, with_content(one, comment="other")))
            check_same(list(outcomes), [DuplicateOf(one), Conflict(one, Taken.ID)])

    def test_one_idempotency_key_keeps_one_feedback(self) -> None:
        """An equal key and body is a duplicate, another body a conflict; sessions and applications are independent."""
        first = a_feedback(idempotency_key="key", fingerprint="body")
        again = a_feedback(idempotency_key="key", fingerprint="body")
        other_body = a_feedback(idempotency_key="key", fingerprint="other")
        elsewhere = a_feedback("elsewhere", idempotency_key="key", fingerprint="body")
        foreign = a_feedback(application="other", idempotency_key="key", fingerprint="body")
        with self.open_storage() as storage:
            # The same within one batch and across batches.
            check_same(list(storage.feedback.add(accepted(first, again))), [Stored(first), DuplicateOf(first)])
            outcomes = storage.feedback.add(accepted(again, other_body, elsewhere, foreign))
            expected = [
                DuplicateOf(first),
                Conflict(first, Taken.IDEMPOTENCY_KEY),
                Stored(elsewhere),
                Stored(foreign),
            ]
            check_same(list(outcomes), expected)
            check_same(storage.feedback.summarize(FeedbackQuery())[None].total, 2)
            check_same(len(storage.outbox.events(limit=9)), 3)

    def test_racing_retries_store_one_entry(self) -> None:
        """If many threads submit the same key, one entry is stored, and the others receive it as a duplicate."""
        retries = [a_feedback(idempotency_key="key", fingerprint="body") for _ in range(8)]
        with self.open_storage() as storage:
            answers = at_once([partial(storage.feedback.add, accepted(one)) for one in retries])
            kept = storage.feedback.find(EVERYTHING, limit=9).items
        outcomes = [outcome for answer in answers for outcome in answer]
        if len(kept) != 1:
            raise AssertionError(f"One idempotency key was stored {len(kept)} times")
        check_same(sorted(type(outcome).__name__ for outcome in outcomes), ["DuplicateOf"] * 7 + ["Stored"])
        check_same({outcome.feedback.id for outcome in outcomes}, {kept[0].id})

    def test_an_idempotency_key_belongs_to_its_author(self) -> None:
        """Each author of a session has separate keys, and so does feedback without an author."""
        authors = ("ann", "bob", None)
        firsts = [a_feedback(author=author, idempotency_key="key", fingerprint=f"body-{author}") for author in authors]
        retries = [evolve(one, id=f"{one.id}-again") for one in firsts]
        others = [evolve(one, id=f"{one.id}-other", fingerprint="other") for one in firsts]
        with self.open_storage() as storage:
            # The same within one batch and across batches.
            outcomes = storage.feedback.add(accepted(*firsts, *retries))
            check_same(list(outcomes), [*map(Stored, firsts), *map(DuplicateOf, firsts)])
            for retry, first in zip(retries, firsts, strict=True):
                check_same(list(storage.feedback.add(accepted(retry))), [DuplicateOf(first)])
            for other, first in zip(others, firsts, strict=True):
                check_same(list(storage.feedback.add(accepted(other))), [Conflict(first, Taken.IDEMPOTENCY_KEY)])
            check_same(storage.feedback.erase(FeedbackQuery(author="ann"), at=NOON).feedback, 1)
            outcomes = storage.feedback.add(accepted(others[0], others[1]))
            check_same(list(outcomes), [Stored(others[0]), Conflict(firsts[1], Taken.IDEMPOTENCY_KEY)])

    def test_an_author_has_one_vote_per_message(self) -> None:
        """A second vote on the same message is a conflict; another message, session or author is independent."""
        first = a_feedback(author="ann", message_id="m", vote=True)
        places = [
            a_feedback(author="ann", message_id="n", vote=True),
            a_feedback(author="ann", vote=True),
            a_feedback(author="bob", message_id="m", vote=True),
            a_feedback("elsewhere", author="ann", message_id="m", vote=True),
            a_feedback(author="ann", message_id="m"),
            a_feedback(message_id="m", vote=True),
            a_feedback(message_id="m", vote=True),
        ]
        again = a_feedback(author="ann", message_id="m", agent_id="helper", vote=True)
        on_session = a_feedback(author="ann", vote=True)
        with self.open_storage() as storage:
            outcomes = storage.feedback.add(accepted(first, *places))
            check_same(list(outcomes), [Stored(one) for one in (first, *places)])
            outcomes = storage.feedback.add(accepted(again, on_session))
            check_same(list(outcomes), [Conflict(first, Taken.VOTE_SLOT), Conflict(places[1], Taken.VOTE_SLOT)])

    def test_a_conflict_affects_no_other_outcome(self) -> None:
        """Outcomes are in the order of the batch, one for each item."""
        taken, fresh, last = a_feedback(), a_feedback(), a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(taken))
            outcomes = storage.feedback.add(accepted(fresh, with_content(taken, comment="other"), last))
            check_same(list(outcomes), [Stored(fresh), Conflict(taken, Taken.ID), Stored(last)])
            check_same(list(storage.feedback.add([])), [])

    def test_a_refused_item_reserves_nothing(self) -> None:
        """An item conflicts with earlier items only; a later item may use a key or vote that a refused item wanted."""
        first = a_feedback(idempotency_key="key")
        refused = a_feedback(idempotency_key="key")
        same_id = evolve(with_content(refused, comment="other"), idempotency_key=None)
        with self.open_storage() as storage:
            outcomes = storage.feedback.add(accepted(first, refused, same_id))
            check_same(list(outcomes), [Stored(first), DuplicateOf(first), Stored(same_id)])

    def test_a_large_batch_behaves_like_a_small_one(self) -> None:
        """In a batch of one thousand, each item has its own outcome and its own event."""
        batch = a_series(1_000, agent_id="helper")
        keyed = [evolve(one, idempotency_key=f"key-{index % 990}") for index, one in enumerate(batch)]
        with self.open_storage() as storage:
            outcomes = list(storage.feedback.add(accepted(*keyed)))
            expected = [Stored(one) for one in keyed[:990]] + [DuplicateOf(one) for one in keyed[:10]]
            check_same(outcomes, expected)
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.fold(keyed[:990])})
            check_same(len(storage.outbox.events(limit=2_000)), 990)

    # --- queries ---------------------------------------------------------------------------------------------------

    def test_pages_are_newest_first(self) -> None:
        """Pages are ordered by time, then by id, both descending; ``stream`` uses the reverse order."""
        series = a_series(5)
        same_time = [a_feedback(created_at=NOON), a_feedback(created_at=NOON)]
        newest_first = [*reversed(series[1:]), *reversed(same_time), series[0]]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series[3:], *same_time[::-1], *series[:3]))
            check_same(storage.feedback.find(FeedbackQuery(), limit=9).items, tuple(newest_first))
            check_same(list(storage.feedback.stream(FeedbackQuery())), newest_first[::-1])

    def test_cursors_neither_skip_nor_repeat(self) -> None:
        """Paging while feedback is added returns everything that existed at the start exactly once."""
        series = a_series(7)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            seen: list[Feedback] = []
            page = storage.feedback.find(FeedbackQuery(), limit=2)
            while page.next is not None:
                seen += page.items
                newcomer = a_feedback(created_at=NOON + timedelta(hours=len(seen)))
                storage.feedback.add(accepted(newcomer))
                page = storage.feedback.find(FeedbackQuery(), limit=2, after=page.next)
            seen += page.items
        check_same(seen, series[::-1])

    def test_pages_of_several_agents_are_in_order(self) -> None:
        """Pages of feedback about several agents are merged by time and id, not one agent after the other."""
        moments = [NOON + timedelta(minutes=number // 2) for number in range(12)]
        series = [a_feedback(agent_id=f"agent-{number % 4}", created_at=at) for number, at in enumerate(moments)]
        query = FeedbackQuery(agent_id=("agent-0", "agent-1", "agent-3"))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            matching = [one for one in series if one.agent_id != "agent-2"]
            check_same(list(storage.feedback.stream(query)), matching)
            seen: list[Feedback] = []
            page = storage.feedback.find(query, limit=2)
            while page.next is not None:
                seen += page.items
                page = storage.feedback.find(query, limit=2, after=page.next)
            check_same([*seen, *page.items], matching[::-1])

    def test_filters_may_have_many_values(self) -> None:
        """Each filter may have 100 values, and ``context`` 50 names: pages, counts and statistics are right."""
        series = [
            evolve(
                with_content(one, tags=(f"tag-{number}",), context=Context({"tier": f"tier-{number}"})),
                target=evolve(one.target, agent_id=f"agent-{number}"),
            )
            for number, one in enumerate(a_series(6))
        ]
        several: dict[str, list[str | None]] = {
            "tier": [f"tier-{number}" for number in range(1, 101)],
            **{f"name-{name}": [None, *map(str, range(99))] for name in range(49)},
        }
        query = FeedbackQuery(
            agent_id=[f"agent-{number}" for number in range(100)],
            tag=[f"tag-{number}" for number in range(100)],
            rating=[Rating.UP, Rating.DOWN],
            context=several,
        )
        expected = [one for one in series if query.matches(one)]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            page = storage.feedback.find(query, limit=2)
            check_same([*page.items], expected[:-3:-1])
            rest = storage.feedback.find(query, limit=10, after=page.next)
            check_same([*page.items, *rest.items], expected[::-1])
            check_same(storage.feedback.count(query, limit=10), len(expected))
            check_same(list(storage.feedback.stream(query)), expected)
            check_same(dict(storage.feedback.summarize(query)), {None: Summary.fold(expected)})

    def test_the_last_page_has_no_next_cursor(self) -> None:
        """``next`` is ``None`` exactly if no more feedback matches, also if the last page is full."""
        series = a_series(4)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            first = storage.feedback.find(FeedbackQuery(), limit=2)
            check_same(first.next is None, False)
            check_same(storage.feedback.find(FeedbackQuery(), limit=2, after=first.next).next, None)
            check_same(storage.feedback.find(FeedbackQuery(session_id="none"), limit=2).items, ())

    def test_feedback_may_change_while_it_is_streamed(self) -> None:
        """Changing and erasing streamed feedback neither ends nor prolongs the stream."""
        series = a_series(5)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            seen = []
            for feedback in storage.feedback.stream(EVERYTHING):
                seen.append(feedback.id)
                storage.feedback.replace(feedback.withdraw(at=NOON), [])
            check_same(seen, [feedback.id for feedback in series])
            check_same([_erase(storage, one) for one in storage.feedback.stream(EVERYTHING)], [1] * 5)
            check_same(storage.feedback.find(EVERYTHING, limit=9).items, ())

    def test_feedback_may_be_erased_while_it_is_streamed(self) -> None:
        """Erasing what a long stream has returned makes it neither skip, repeat nor end."""
        # More than an adapter is likely to read at a time, erased where the next read is likely to begin.
        series = a_series(1_050)
        doomed = {0, 1, 99, 100, 498, 499, 500, 998, 999, 1_000, 1_001}
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            seen = []
            for feedback in storage.feedback.stream(EVERYTHING):
                seen.append(feedback)
                if len(seen) - 1 in doomed:
                    check_same(_erase(storage, feedback), 1)
            check_same(seen, series)
            left = [one for number, one in enumerate(series) if number not in doomed]
            check_same(list(storage.feedback.stream(EVERYTHING)), left)

    def test_only_counted_feedback_is_found_by_default(self) -> None:
        """Pending, rejected and withdrawn feedback is in no list and no statistics, unless the query includes it."""
        seen = a_feedback()
        hidden = [
            a_feedback(moderation=Moderation(status=ModerationStatus.PENDING)),
            a_feedback(moderation=Moderation(status=ModerationStatus.REJECTED)),
            a_feedback().withdraw(at=NOON),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(seen, *hidden))
            check_same(storage.feedback.find(FeedbackQuery(), limit=9).items, (seen,))
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.of(seen)})
            check_same(storage.feedback.summarize(EVERYTHING)[None].total, 4)
            waiting = FeedbackQuery(statuses=frozenset({ModerationStatus.PENDING}))
            check_same(storage.feedback.find(waiting, limit=9).items, (hidden[0],))
            check_same(storage.feedback.find(FeedbackQuery(withdrawn=True), limit=9).items, (hidden[2],))

    def test_applications_with_feedback_are_listed(self) -> None:
        """Each application that has feedback, in any state, is listed once, by code point."""
        pending = a_feedback(application="b", moderation=Moderation(status=ModerationStatus.PENDING))
        withdrawn = a_feedback(application="Z").withdraw(at=NOON)
        # In UTF-16 the order of the last two would be reversed.
        several = [a_feedback(application=name) for name in ("\U0001f44d", "\uff5e", "é", "a", "a")]
        with self.open_storage() as storage:
            check_same(list(storage.feedback.applications()), [])
            storage.feedback.add(accepted(pending, withdrawn, *several))
            storage.sessions.update("metadata only", "s", {"a": 1})
            check_same(list(storage.feedback.applications()), ["Z", "a", "b", "é", "\uff5e", "\U0001f44d"])
            storage.feedback.erase(FeedbackQuery(application="b").in_any_state(), at=NOON)
            check_same(list(storage.feedback.applications()), ["Z", "a", "é", "\uff5e", "\U0001f44d"])

    # --- extras and sessions ---------------------------------------------------------------------------------------

    def test_extras_come_back_exactly(self) -> None:
        """Extras of any text and size are returned unchanged, by id, of entries in any state; others are left out."""
        texts = {
            "nested": '{"a.b": [1, {"$c": null}], "0": ""}',
            "escapes": '{"\\u0000\\ud800": "\\\\ \\" \\n"}',
            "spaces": ' {\t"x" :\r\n1.0e400 }\n',
            "letters": '{"ключ": "👎🏽 é e\u0301 \u202e"}',
        }
        large = '{"x": "' + "0123456789" * 100_000 + '"}'
        items = [item for name, text in texts.items() for item in accepted(a_feedback(id=name), extras=text)]
        hidden = a_feedback(id="hidden", moderation=Moderation(status=ModerationStatus.REJECTED)).withdraw(at=NOON)
        plain, elsewhere = a_feedback(id="plain"), a_feedback(application="other", id="nested")
        with self.open_storage() as storage:
            for item in items[:2]:
                storage.feedback.add([item])
            storage.feedback.add([*items[2:], *accepted(hidden, extras="{}"), *accepted(plain, elsewhere)])
            wanted = [*texts, "hidden", "plain", "nobody"]
            check_same(_extras(storage, wanted), sorted({**texts, "hidden": "{}"}.items()))
            check_same(dict(storage.feedback.extras("default", {"letters"})), {"letters": texts["letters"]})
            (item,) = accepted(a_feedback(), extras=large)
            storage.feedback.add([item])
            check_same(storage.feedback.extras("default", [item.feedback.id])[item.feedback.id] == large, True)
            for unknown in ([], ["plain", "nobody"]):
                check_same(dict(storage.feedback.extras("default", unknown)), {})
            check_same(dict(storage.feedback.extras("other", wanted)), {})
            check_same(storage.feedback.get("default", "nested"), items[0].feedback)

    def test_a_large_batch_keeps_the_extras_of_each_entry(self) -> None:
        """In a batch of hundreds of entries, each keeps its own extras, or none."""
        series = a_series(600)
        items = [accepted(one, extras=f'{{"n":{number}}}' * (number % 3)) for number, one in enumerate(series)]
        with self.open_storage() as storage:
            storage.feedback.add([item for (item,) in items])
            expected = {item.feedback.id: item.extras for (item,) in items if item.extras}
            check_same(_extras(storage, [one.id for one in series]), sorted(expected.items()))

    def test_a_duplicate_keeps_the_first_extras(self) -> None:
        """Extras are written when feedback is stored, and are not compared to find duplicates and conflicts."""
        first = a_feedback(idempotency_key="key", fingerprint="body", author="ann", vote=True)
        by_key = a_feedback(idempotency_key="key", fingerprint="body", author="ann")
        by_vote = a_feedback(author="ann", vote=True)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(first, extras='{"n":1}'))
            again = [*accepted(first, by_key, by_vote, extras='{"n":2}')]
            outcomes = [DuplicateOf(first), DuplicateOf(first), Conflict(first, Taken.VOTE_SLOT)]
            check_same(list(storage.feedback.add(again)), outcomes)
            check_same([storage.feedback.add([item])[0] for item in again], outcomes)
            ids = [first.id, by_key.id, by_vote.id]
            check_same(dict(storage.feedback.extras("default", ids)), {first.id: '{"n":1}'})

    def test_changes_leave_the_extras(self) -> None:
        """A new version has the extras of the first one, however it differs; versions without extras stay so."""
        first, plain = a_feedback(author="ann"), a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add([*accepted(first, extras='{"n":1}'), *accepted(plain)])
            second = first.revised(Content(Rating.DOWN, "Changed", tags=("x",)), at=NOON + MINUTE)
            storage.feedback.replace(second, [Event.about(second, EventType.UPDATED)])
            storage.feedback.replace(evolve(second.withdraw(at=NOON + MINUTE), version=9), [], over=2)
            storage.feedback.replace(plain.answered("Thanks", at=NOON), [])
            check_same(dict(storage.feedback.extras("default", [first.id, plain.id])), {first.id: '{"n":1}'})

    def test_erasing_removes_the_extras(self) -> None:
        """The extras of erased feedback are gone, also if feedback with the same id is stored again."""
        doomed, kept = a_feedback("doomed"), a_feedback("kept")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(doomed, kept, extras='{"n":1}'))
            storage.feedback.erase(FeedbackQuery(session_id="doomed"), at=NOON)
            ids = [doomed.id, kept.id]
            check_same(dict(storage.feedback.extras("default", ids)), {kept.id: '{"n":1}'})
            storage.feedback.add(accepted(doomed))
            check_same(dict(storage.feedback.extras("default", ids)), {kept.id: '{"n":1}'})

    def test_a_session_shows_its_counted_feedback(self) -> None:
        """Its entries are oldest first, by time to the microsecond and then by id, each with all that it has."""
        times = [NOON.replace(microsecond=number) for number in (1_000, 0, 999_999, 999, 1, 1)]
        same_session = [
            a_feedback(created_at=at, rating=word) for at, word in zip(times, ("up", "down", None) * 2, strict=True)
        ]
        full = a_feedback(
            created_at=datetime(1970, 1, 1, tzinfo=UTC),
            rating=Rating.DOWN,
            comment="Zeile\n'\"\\ 👎🏽",
            message_id="m",
            agent_id="агент",
            author="ann",
            tags=("too slow", 'it"s'),
            context=Context({"yes": True, "one": 1, "real": 1.0, "text": '"', "none": None, "most": 2**63 - 1}),
            sentiment=Sentiment(-0.123457, 0.999999),
            idempotency_key="k",
            reply="Thanks",
        )
        single = [
            evolve(a_feedback(**{name: value}), created_at=datetime(9998, 12, 31, 23, 59, 59, number, tzinfo=UTC))
            for number, (name, value) in enumerate(_SINGLE.items())
        ]
        extras = a_feedback(created_at=NOON + MINUTE)
        others = [
            a_feedback("other"),
            a_feedback(application="other"),
            a_feedback(moderation=Moderation(status=ModerationStatus.PENDING)),
            a_feedback(moderation=Moderation(status=ModerationStatus.REJECTED)),
            a_feedback().withdraw(at=NOON),
        ]
        shown = [full, *sorted(same_session, key=lambda one: (one.created_at, one.id)), extras, *single]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*others, *single, *reversed(same_session)))
            storage.feedback.add([*accepted(full, extras='{"n":\t1}'), *accepted(extras, extras='[""]')])
            texts = {full.id: '{"n":\t1}', extras.id: '[""]'}
            found = list(storage.feedback.session_entries("default", "session"))
            check_same(found, [SessionEntry.of(one, texts.get(one.id, "")) for one in shown])
            check_same(found[0].created_at, "1970-01-01T00:00:00.000000")
            check_same(list(storage.feedback.session_entries("default", "nobody")), [])
            check_same(list(storage.feedback.session_entries("nobody", "session")), [])

    # --- the list of changes ---------------------------------------------------------------------------------------

    def test_changes_are_ordered_by_time(self) -> None:
        """Changed feedback in any state is returned by time of change, then by id; unchanged feedback is left out."""
        series = a_series(5)
        later = [NOON + timedelta(days=1, microseconds=number) for number in range(4)]
        pending = Moderation(status=ModerationStatus.PENDING)
        changed = [
            series[3].withdraw(at=later[0]),
            series[1].moderated(pending, at=later[1]),
            series[2].answered("Thanks", at=later[1]),
            series[0].answered("Thanks", at=later[2]).answered(None, at=later[3]),
        ]
        imported = evolve(a_feedback("imported"), version=7, updated_at=later[2])
        elsewhere = evolve(a_feedback(application="other"), version=2)
        with self.open_storage() as storage:
            check_same(list(storage.feedback.changes("default", since=NOON)), [])
            storage.feedback.add(accepted(*series))
            check_same(list(storage.feedback.changes("default", since=NOON)), [])
            storage.feedback.replace(series[0].answered("Thanks", at=later[2]), [])
            for one in reversed(changed):
                storage.feedback.replace(one, [])
            storage.feedback.add(accepted(imported, elsewhere))
            expected = [*changed[:3], imported, changed[3]]
            for since, first in ((NOON, 0), (later[0], 0), (later[1], 1), (later[2], 3), (later[3], 4)):
                check_same(list(storage.feedback.changes("default", since=since)), expected[first:])
            check_same(list(storage.feedback.changes("default", since=later[3] + MICROSECOND)), [])
            check_same(list(storage.feedback.changes("other", since=NOON)), [elsewhere])
            check_same(storage.feedback.erase(FeedbackQuery(session_id="imported"), at=NOON).feedback, 1)
            check_same(list(storage.feedback.changes("default", since=NOON)), changed)

    def test_feedback_may_change_while_changes_are_read(self) -> None:
        """Feedback that stays the same is returned once, and the iteration ends, however much is changed and erased."""
        # More than an adapter is likely to read at a time, with many changes at each instant.
        old = [
            evolve(one, version=2, updated_at=NOON + timedelta(microseconds=index // 9))
            for index, one in enumerate(a_series(1_100))
        ]
        later = NOON + timedelta(days=1)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*old))
            seen = []
            for feedback in storage.feedback.changes("default", since=NOON):
                seen.append(feedback)
                if len(seen) % 50 == 0:
                    storage.feedback.replace(feedback.answered("again", at=later), [])
                    storage.feedback.erase(FeedbackQuery(feedback_id=seen[-2].id), at=NOON)
            check_same(seen, old)
            again = [one.answered("again", at=later) for one in old[49::50]]
            check_same(list(storage.feedback.changes("default", since=later)), again)

    # --- changing --------------------------------------------------------------------------------------------------

    def test_no_update_is_lost(self) -> None:
        """Only the version after the stored one replaces it; any other version is stale and changes nothing."""
        first = a_feedback()
        second, rival = first.answered("one", at=NOON), first.answered("two", at=NOON)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(first))
            storage.feedback.replace(second, [Event.about(second, EventType.UPDATED)])
            check_raises(StaleFeedback, lambda: storage.feedback.replace(rival, []))
            check_raises(StaleFeedback, lambda: storage.feedback.replace(evolve(second, version=4), []))
            check_same(storage.feedback.get("default", first.id), second)
            check_same(len(storage.outbox.events(limit=9)), 2)

    def test_a_later_version_replaces_the_named_one(self) -> None:
        """With ``over``, a far later version replaces exactly the named one; statistics and change order follow."""
        first = a_feedback(author="ann", vote=True, idempotency_key="key", fingerprint="a")
        ahead = first
        for hour in range(1, 5):
            content = Content(Rating.DOWN if hour % 2 else Rating.UP, f"{hour}")
            ahead = ahead.revised(content, at=NOON + timedelta(hours=hour))
        ahead = ahead.moderated(Moderation(status=ModerationStatus.REJECTED), at=NOON + timedelta(hours=5))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(first))
            for wrong in (2, 5, 6):
                check_raises(StaleFeedback, lambda: storage.feedback.replace(ahead, [], over=wrong))  # noqa: B023
            check_same(storage.feedback.get("default", first.id), first)
            storage.feedback.replace(ahead, [], over=1)
            check_same(storage.feedback.get("default", first.id), ahead)
            check_same(dict(storage.feedback.summarize(FeedbackQuery())), {})
            check_same(list(storage.feedback.changes("default", since=NOON)), [ahead])
            approved = ahead.moderated(Moderation(), at=NOON + timedelta(hours=6))
            storage.feedback.replace(approved, [], over=6)
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.of(approved)})
            check_raises(StaleFeedback, lambda: storage.feedback.replace(ahead, [], over=6))
            again = evolve(a_feedback(), author="ann", idempotency_key="key", fingerprint="a")
            check_same(list(storage.feedback.add(accepted(again))), [DuplicateOf(approved)])
            rival = evolve(a_feedback(), author="ann", vote=True)
            check_same(list(storage.feedback.add(accepted(rival))), [Conflict(approved, Taken.VOTE_SLOT)])
            gone = evolve(approved, id="gone", version=9)
            check_raises(FeedbackNotFound, lambda: storage.feedback.replace(gone, [], over=8))

    def test_one_of_several_racing_changes_succeeds(self) -> None:
        """If several threads replace the same version, one succeeds."""
        first = a_feedback()
        rivals = [first.answered(str(number), at=NOON) for number in range(6)]

        def replace(storage: Storage, rival: Feedback) -> bool:
            try:
                storage.feedback.replace(rival, [])
            except StaleFeedback:
                return False
            return True

        with self.open_storage() as storage:
            storage.feedback.add(accepted(first))
            won = at_once([partial(replace, storage, rival) for rival in rivals])
            check_same(sum(won), 1)
            check_same(storage.feedback.get("default", first.id), rivals[won.index(True)])

    def test_erased_means_gone(self) -> None:
        """Erasing removes feedback, statistics, events and deliveries, and frees the idempotency key and the vote."""
        doomed = a_feedback("doomed", idempotency_key="key", fingerprint="a", author="ann", vote=True)
        other = a_feedback("other")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(doomed, other))
            storage.outbox.fan_out([(event, ["log"]) for event in storage.outbox.events(limit=9)], due_at=NOON)
            withdrawn = doomed.withdraw(at=NOON)
            storage.feedback.replace(withdrawn, [Event.about(withdrawn, EventType.WITHDRAWN)])
            query = FeedbackQuery(session_id="doomed").in_any_state()
            removed = [storage.feedback.erase(query, at=NOON) for _ in range(2)]
            check_same(removed, [Erased(feedback=1, deliveries=1), Erased()])
            check_raises(FeedbackNotFound, lambda: storage.feedback.get("default", doomed.id))
            events = [event.subject_id for event in storage.outbox.events(limit=9)]
            claimed = storage.outbox.claim("log", now=NOON, until=NOON + MINUTE, limit=9)
            due = [delivery.event.subject_id for delivery in claimed]
            check_same(doomed.id in (*events, *due), False)
            check_same(storage.feedback.summarize(EVERYTHING), {None: Summary.of(other)})
            successor = evolve(doomed, id="successor", fingerprint="b")
            check_same(list(storage.feedback.add(accepted(successor))), [Stored(successor)])


def _extras(storage: Storage, feedback_ids: Collection[str]) -> object:
    """Return the extras of these entries, sorted, as their order is undefined."""
    return sorted(storage.feedback.extras("default", feedback_ids).items())


def _erase(storage: Storage, feedback: Feedback) -> int:
    return storage.feedback.erase(FeedbackQuery(feedback_id=feedback.id).in_any_state(), at=NOON).feedback
