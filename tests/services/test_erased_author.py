"""After the erasure of an author, statistics equal those of a storage that never had this author's feedback."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from random import Random

import mongomock
import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

import harken
from harken import Change, Feedback, Harken, ModerationStatus, Rating, Sentiment
from harken.domain.moderation import Moderation
from harken.ports.storage import Storage
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.sqlite import terms
from harken_adapters.storage.term_counts import dump_counts
from services.learning import BAD, GOOD
from support import NOON, ManualClock, a_feedback

TOPICS = ("luggage", "refund", "seat", "wifi", "food", "staff", "delay", "gate")
#: Only the erased author uses them.
OWN = ("xylophone", "zeppelin")


def _given(count: int, *, seed: int, author: str | None = None, topics: Sequence[str] = TOPICS) -> list[Feedback]:
    """Feedback of the three days before noon. A third of it was held; moderators rejected half of that."""
    random = Random(seed)
    found: list[Feedback] = []
    for number in range(count):
        is_good, held, spam = (random.random() < share for share in (0.4, 0.33, 0.5))
        said = [
            random.choice(("app", "today") if is_good else topics),
            *random.sample(GOOD if is_good else BAD, 2),
            f"{number % 30}",
        ]
        one = a_feedback(
            f"{seed}-{number:04}",
            Rating.UP if is_good else Rating.DOWN,
            " ".join([*said, "promo"] if held and spam else said),
            created_at=NOON - timedelta(seconds=random.randrange(3 * 86_400)),
            sentiment=Sentiment(0.6 if is_good else -0.3, 0.5),
            author=author or f"author-{number % 40}",
            session_id=f"{author or 'session'}-{number % 50}",
        )
        status = ModerationStatus.REJECTED if spam else ModerationStatus.APPROVED
        decided = Moderation.held("Spam detected").decide(status, at=one.created_at, moderator="mo")
        found.append(evolve(one, moderation=decided, version=2) if held else one)
    return found


OTHERS = _given(480, seed=1)
ANNS = _given(100, seed=2, author="ann", topics=(*TOPICS, *OWN))


@frozen
class Place:
    """A storage, with the clock that decides what is settled."""

    hk: Harken
    storage: Storage
    clock: ManualClock

    def read(self) -> None:
        """Read everything after a while, so that storages keep what they counted."""
        self.clock.turn(minutes=3)
        _answers(self)

    def change(self, feedback: Sequence[Feedback]) -> None:
        """Edit, withdraw, reject and approve some of the feedback."""
        for number, one in enumerate(feedback):
            is_rejected = one.moderation.status is ModerationStatus.REJECTED
            match number % 10:
                case 1:
                    self.hk.collection.change("default", one.id, Change(comment=f"{one.comment} and late"))
                case 3:
                    self.hk.collection.change("default", one.id, Change(rating=Rating.DOWN))
                case 5:
                    self.hk.collection.withdraw("default", one.id)
                case 7 | 8:
                    status = ModerationStatus.APPROVED if is_rejected else ModerationStatus.REJECTED
                    self.hk.moderation.decide("default", one.id, status)


def _answers(place: Place) -> dict[str, object]:
    """Everything that is learned or counted from comments; equal answers have equal representations."""
    hk, everything = place.hk, list(place.hk.collection.stream(place.hk.query().in_any_state()))
    waiting = [evolve(one, moderation=Moderation.held("Spam detected")) for one in everything]
    return {
        "counts": dump_counts(place.storage.feedback.term_counts("default")),
        "themes": repr([(one, sorted(one.theme.comments)) for one in hk.themes().themes]),
        "recent themes": repr(hk.themes(since=NOON - timedelta(days=1))),
        "readings": repr(sorted(hk.sentiment.readings(everything).items())),
        "survey": repr(hk.sentiment.survey(hk.query())),
        "evaluation": repr(hk.sentiment.evaluate("default")),
        "spam": repr((sorted(hk.spam.readings(waiting).items()), hk.spam.evaluate("default"))),
        "estimate": repr(hk.estimate()),
    }


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        "sqlite, counting at once",
        pytest.param("mongomock", marks=pytest.mark.slow),
        pytest.param("mongodb", marks=pytest.mark.slow),
    ]
)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """An empty storage of each kind."""
    with ExitStack() as stack:
        match request.param:
            case "mongomock":
                storage = mongo_storage(mongomock.MongoClient(), clock=clock)
            case "mongodb":
                client = stack.enter_context(MongoClient(request.getfixturevalue("mongodb_url")))
                storage = mongo_storage(client, client.get_default_database().name, clock=clock)
            case "memory":
                storage = stack.enter_context(harken.open_storage("memory://"))
            case _:
                if request.param != "sqlite":
                    monkeypatch.setattr(terms, "_ENOUGH", 1)
                    monkeypatch.setattr(terms, "_CHUNK", 100)
                storage = stack.enter_context(harken.open_storage(f"sqlite:///{tmp_path}/feedback.db"))
        yield Place(stack.enter_context(harken.connect(storage, clock=clock)), storage, clock)


@pytest.fixture
def never(clock: ManualClock) -> Iterator[Place]:
    """A storage in memory that never has Ann's feedback, with the same clock."""
    with harken.open_storage("memory://") as storage, harken.connect(storage, clock=clock) as hk:
        yield Place(hk, storage, clock)


def test_an_erased_author_leaves_nothing_in_what_was_counted(place: Place, never: Place) -> None:
    """Counts, themes, readings and evaluations are equal to the last bit, on every storage: immediately, after the
    counts were stored again, and after a rebuild.
    """
    steps: list[tuple[Callable[[Place, Sequence[Feedback]], object], slice]] = [
        (lambda one, some: one.hk.collection.restore(some), slice(0, None, 2)),
        (lambda one, _: one.read(), slice(0)),
        (Place.change, slice(0, None, 2)),
        (lambda one, _: one.read(), slice(0)),
        # These arrive late: among what was counted.
        (lambda one, some: one.hk.collection.restore(some), slice(1, None, 2)),
        (Place.change, slice(1, None, 4)),
        (lambda one, _: one.read(), slice(0)),
        (Place.change, slice(3, None, 4)),
    ]
    for step, part in steps:
        now = place.clock.now
        step(place, [*OTHERS[part], *ANNS[part]])
        place.clock.now = now
        step(never, OTHERS[part])
    # Both have learned from the last decisions then.
    place.clock.turn(minutes=1)
    before = _answers(place)
    place.hk.collection.erase(place.hk.query(author="ann"))
    expected = _answers(never)
    assert [name for name in expected if before[name] == expected[name]] == []
    for _ in range(2):
        assert _answers(place) == expected
        place.clock.turn(minutes=3)
    assert (place.hk.check(), place.hk.rebuild()) == ([], [])
    assert _answers(place) == _answers(never)


class Namer:
    """Names themes by the comments that it is shown."""

    def __call__(self, words: Sequence[str], comments: Sequence[str]) -> str:
        """The shortest comment."""
        return min(comments, key=len)


def test_a_theme_is_named_again_after_an_erasure(clock: ManualClock) -> None:
    """A name that comes from an erased comment is not kept."""
    with harken.connect("memory://", clock=clock, theme_namer=Namer()) as hk:
        for number in range(72):
            said = f"The {TOPICS[number % 8]} in row {number} was a problem"
            hk.collection.restore([a_feedback(f"{number}", Rating.DOWN, said, author=f"{number}")])
        hk.collection.restore([a_feedback("0-ann", Rating.DOWN, "My luggage", author="ann")])
        assert "My luggage" in {one.name for one in hk.themes().themes}
        hk.collection.erase(hk.query(author="ann"))
        assert "My luggage" not in {one.name for one in hk.themes().themes}


#: What a step does, the place of the feedback that it is done to, its rating and its words.
_STEPS = st.tuples(
    st.sampled_from(("add", "add late", "edit", "withdraw", "reject", "approve", "read")),
    st.integers(0, 9),
    st.sampled_from((Rating.UP, Rating.DOWN)),
    st.lists(st.sampled_from(("lost", "luggage", "quick", "wifi")), min_size=1, max_size=4),
)
_Step = tuple[str, int, Rating, list[str]]


def _take(hk: Harken, step: _Step, number: int, author: str) -> None:
    what, place, rating, said = step
    mine = [one for one in hk.collection.stream(hk.query(author=author).in_any_state()) if not one.withdrawn]
    if what.startswith("add"):
        at = NOON + timedelta(minutes=-number if what == "add late" else number)
        one = a_feedback(f"{author}-{number}", rating, " ".join(said), created_at=at, author=author, session_id=author)
        hk.collection.restore([one])
    elif what == "read":
        hk.sentiment.evaluate("default")
    elif mine:
        one = mine[place % len(mine)]
        status = {"reject": ModerationStatus.REJECTED, "approve": ModerationStatus.APPROVED}.get(what)
        if what == "edit":
            hk.collection.change("default", one.id, Change(rating=rating, comment=" ".join(said)))
        elif what == "withdraw":
            hk.collection.withdraw("default", one.id)
        elif status is not one.moderation.status:
            hk.moderation.decide("default", one.id, str(status and status.value))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(_STEPS, st.sampled_from(("ann", "ben"))), max_size=25))
def test_any_history_of_an_erased_author_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[_Step, str]]
) -> None:
    """Counts and readings are those of a storage with the other author's steps only."""
    monkeypatch.setattr(terms, "_ENOUGH", 1)
    monkeypatch.setattr(terms, "_CHUNK", 3)
    url = f"sqlite:///{tmp_path_factory.mktemp('any')}/feedback.db"
    with ExitStack() as stack:
        clock = ManualClock()
        storages = [stack.enter_context(harken.open_storage(one)) for one in (url, "memory://", "memory://")]
        *both, never = (harken.connect(storage, clock=clock) for storage in storages)
        for number, (step, author) in enumerate(steps):
            for hk in both if author == "ann" else (*both, never):
                _take(hk, step, number, author)
            clock.turn(seconds=1)
        # All have learned what was added then.
        clock.turn(minutes=1)
        for hk in both:
            hk.sentiment.evaluate("default")
            hk.collection.erase(hk.query(author="ann"))
            assert hk.sentiment.evaluate("default") == never.sentiment.evaluate("default")
            everything = list(never.collection.stream(never.query().in_any_state()))
            assert hk.sentiment.readings(everything) == never.sentiment.readings(everything)
            assert hk.check() == []
        assert len({dump_counts(storage.feedback.term_counts("default")) for storage in storages}) == 1
