"""What waits is notified at once: nothing here looks by itself before an hour has passed, and no wake-up is lost."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Lock, Thread, current_thread
from typing import Any

import pytest

from channels import Recorder
from harken import Change, Feedback, Harken, Target
from harken.configuration.storage_urls import open_storage
from harken.ports.repository import Accepted, Stored
from harken.ports.storage import Storage
from harken.services.feedback.background import Background
from harken.services.feedback.group_commit import GroupCommit
from support import PATIENCE, a_feedback, a_submission, eventually, in_threads
from waking import HOUR, once, unpolled

STORAGES = ["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)]


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage: in memory, unless a test asks for another."""
    kind = getattr(request, "param", "memory")
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/feedback.db"}.get(kind)
    with open_storage(url or request.getfixturevalue("mongodb_url")) as opened:
        yield opened


# --- every writer -----------------------------------------------------------------------------------------------------


def vote(hk: Harken, rating: str, **options: Any) -> Feedback:
    """Set the vote of one author."""
    return hk.collection.set_vote(Target("s", "m"), "ann", rating, "because", **options).feedback


def given(hk: Harken, rating: str = "up") -> str:
    """Feedback to write to; its id."""
    return hk.submit("s", rating, "before").feedback.id


#: Each way to write that is news, which imports without events and restored feedback are not: what is there before, and
#: the write itself, which is given the id of that.
WRITERS: dict[str, tuple[Callable[[Harken], object], Callable[[Harken, Any], object]]] = {
    "submit": (lambda hk: None, lambda hk, _: hk.submit("s", "up")),
    "submit_soon": (lambda hk: None, lambda hk, _: hk.submit_soon("s", "up").result(PATIENCE)),
    "submit_many": (lambda hk: None, lambda hk, _: hk.collection.submit_many([a_submission(), a_submission()])),
    "first vote": (lambda hk: None, lambda hk, _: vote(hk, "up")),
    "other vote": (lambda hk: vote(hk, "up").id, lambda hk, _: vote(hk, "down")),
    "change": (given, lambda hk, one: hk.collection.change("default", one, Change(comment="after"))),
    "withdraw": (given, lambda hk, one: hk.collection.withdraw("default", one)),
    "withdraw_vote": (
        lambda hk: vote(hk, "up").id,
        lambda hk, _: hk.collection.withdraw_vote("default", "s", "m", "ann"),
    ),
    "moderate": (given, lambda hk, one: hk.moderation.decide("default", one, "rejected")),
    "reply": (given, lambda hk, one: hk.collection.reply("default", one, "Thank you")),
}


@pytest.mark.parametrize("storage", STORAGES, indirect=True)
@pytest.mark.parametrize("name", WRITERS)
def test_a_listener_that_reads_when_it_is_called_finds_the_write(storage: Storage, name: str) -> None:
    """Whichever way something is written, listeners are called when it can be read, and not before."""
    prepare, write = WRITERS[name]
    with unpolled(storage) as one:
        prepared = prepare(one.hk)
        eventually(lambda: one.looks[-1:] == ([one.stored()] if prepared else []))
        one.looks.clear()
        before = one.stored()
        write(one.hk, prepared)
        assert one.stored() != before
        eventually(lambda: one.looks[-1:] == [one.stored()])


@pytest.mark.parametrize("storage", STORAGES, indirect=True)
@pytest.mark.parametrize("name", WRITERS)
def test_news_arrives_at_once(storage: Storage, name: str) -> None:
    """Listeners and channels are notified of each write in this process without being asked to look."""
    prepare, write = WRITERS[name]
    channel, woken = Recorder(), Event()
    with unpolled(storage, channels={"ops": channel}) as one:
        one.hk.start_relay()
        prepared = prepare(one.hk)
        eventually(lambda: len(channel.arrived) == bool(prepared))
        listener = one.hk.feed.listen("default", woken.set)
        before, arrived = one.stored(), len(channel.arrived)
        write(one.hk, prepared)
        written = {feedback_id for feedback_id, feedback in one.stored().items() if before.get(feedback_id) != feedback}
        heard: set[str] = set()
        while not heard >= written:
            assert woken.wait(PATIENCE), "the listener is not notified"
            woken.clear()
            heard |= {news.feedback.id for news in listener.take() if news.feedback}
        eventually(lambda: len(channel.arrived) == arrived + len(written))


def test_an_answer_of_a_responder_is_news(storage: Storage) -> None:
    """The answer that is stored in the background is there when listeners are called, and reaches channels at once."""
    channel, answers = Recorder(), Event()

    def respond(_: Feedback) -> str:
        assert answers.wait(PATIENCE)
        return "Sorry"

    with unpolled(storage, channels={"ops": channel}, responder=respond) as one:
        one.hk.start_relay()
        feedback = one.hk.submit("s", "down", "slow").feedback
        eventually(lambda: len(channel.arrived) == 1)
        one.looks.clear()
        answers.set()
        eventually(lambda: one.looks)
        assert one.looks[0][feedback.id].reply == "Sorry"
        eventually(lambda: channel.types == ["feedback.created", "feedback.updated"])


def test_a_vote_whose_earlier_one_is_erased_meanwhile_is_news(storage: Storage) -> None:
    """The vote that becomes the first one is stored when listeners are called."""
    with unpolled(storage) as one:
        earlier = vote(one.hk, "up")
        one.looks.clear()
        erase = one.hk.query(session_id="s").in_any_state()
        later = vote(one.hk, "down", check=lambda _: one.hk.collection.erase(erase))
        assert later.id != earlier.id
        assert [set(look) for look in one.looks[-1:]] == [{later.id}]


# --- wake-ups ---------------------------------------------------------------------------------------------------------


def test_what_is_written_while_the_feed_looks_is_news(storage: Storage) -> None:
    """What is written after the feed has read the storage, and before it is done with that, is found at once."""
    with unpolled(storage) as one:
        heard: list[str] = []
        woken = Event()
        listener = one.hk.feed.listen("default", woken.set)
        one.feedback.after["changes"] = once(lambda: one.hk.submit("s", "up", "meanwhile"))
        one.hk.submit("s", "up", "first")
        while len(heard) < 2:
            assert woken.wait(PATIENCE), "the wake-up was lost"
            woken.clear()
            heard += [news.feedback.comment for news in listener.take() if news.feedback]
    assert heard == ["first", "meanwhile"]


def test_what_is_written_while_somebody_begins_to_listen_is_news(storage: Storage) -> None:
    """What is written right after the first listener has read the storage, while no thread looks yet, is found."""
    woken = Event()
    with unpolled(storage) as one:
        one.feedback.after["changes"] = once(lambda: one.hk.submit("s", "up", "meanwhile"))
        listener = one.hk.feed.listen("default", woken.set)
        assert woken.wait(PATIENCE), "the wake-up was lost"
        assert [news.feedback.comment for news in listener.take() if news.feedback] == ["meanwhile"]


def test_what_is_written_after_the_last_listener_left_is_not_lost(storage: Storage) -> None:
    """The thread that looks ends with the last listener; who begins to listen then is notified all the same."""
    with unpolled(storage) as one:
        for number in range(3):
            woken = Event()
            listener = one.hk.feed.listen("default", woken.set)
            one.hk.submit("s", "up", str(number))
            assert woken.wait(PATIENCE), "the wake-up was lost"
            assert [news.feedback.comment for news in listener.take() if news.feedback] == [str(number)]
            listener.close()
            one.hk.feed.nudge()


def test_what_is_written_while_the_relay_looks_is_sent(storage: Storage) -> None:
    """What is written after the relay has found nothing more, and before it waits again, is sent at once."""
    channel, rounds = Recorder(), iter(range(1, 4))

    with unpolled(storage, channels={"ops": channel}) as one:

        def write(found: object) -> None:
            if not found and (number := next(rounds, None)):
                one.hk.submit("s", "up", f"meanwhile {number}")

        one.outbox.after["events"] = write
        one.hk.start_relay()
        one.hk.submit("s", "up", "first")
        eventually(lambda: len(channel.arrived) == 4)
    assert sorted(channel.comments) == ["first", "meanwhile 1", "meanwhile 2", "meanwhile 3"]


def test_what_is_due_while_a_channel_looks_is_sent(storage: Storage) -> None:
    """What is due after a channel has claimed what there was, and before it waits again, is sent at once."""
    channel, made, idle = Recorder(), Event(), Event()

    with unpolled(storage, channels={"ops": channel}) as one:
        rounds = iter(range(1, 4))

        def write(_: object) -> None:
            if number := next(rounds, None):
                made.clear()
                idle.clear()
                one.hk.submit("s", "up", f"meanwhile {number}")
                # By then the relay has made the delivery and woken the channel.
                assert idle.wait(PATIENCE)

        def look(found: object) -> None:
            if not found and made.is_set():
                idle.set()

        one.outbox.after["settle"] = write
        one.outbox.after["fan_out"] = lambda _: made.set()
        one.outbox.after["events"] = look
        one.hk.start_relay(concurrency=1)
        one.hk.submit("s", "up", "first")
        eventually(lambda: len(channel.arrived) == 4)
    assert channel.comments == ["first", "meanwhile 1", "meanwhile 2", "meanwhile 3"]


@pytest.mark.parametrize("stage", ["event", "delivery"])
def test_what_is_due_when_the_relay_starts_is_sent(storage: Storage, stage: str) -> None:
    """Events and deliveries that were left from before are not kept waiting until something else happens."""
    channel = Recorder()
    with unpolled(storage, channels={"ops": channel}) as one:
        one.hk.submit("s", "up")
        if stage == "delivery":
            one.hk.relay.dispatch()
        one.hk.start_relay()
        eventually(lambda: len(channel.arrived) == 1)
        one.hk.relay.stop()
        one.hk.submit("s", "up")
        if stage == "delivery":
            one.hk.relay.dispatch()
        one.hk.start_relay()
        eventually(lambda: len(channel.arrived) == 2)


@pytest.mark.slow
def test_another_process_is_noticed_at_once_where_the_server_tells(
    mongodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a replica set, a relay sends what others write, also right before and right after it watches for changes."""
    from harken_adapters.storage.mongodb.database import Database  # noqa: PLC0415 - only where there is a MongoDB

    channel, changes = Recorder(), Database.changes
    with ExitStack() as stack:
        one = stack.enter_context(unpolled(stack.enter_context(open_storage(mongodb_url)), channels={"ops": channel}))
        other = stack.enter_context(unpolled(stack.enter_context(open_storage(mongodb_url))))
        quiet = Event()
        one.outbox.after["events"] = lambda found: found or quiet.set()

        def before(*arguments: Any, **options: Any) -> Any:
            # By then the relay has looked, so only the watch can wake it.
            if written := not channel.arrived:
                assert quiet.wait(PATIENCE)
                other.hk.submit("s", "up", "before")
            stream = changes(*arguments, **options)
            if written:
                close = stream.close

                def closing() -> None:
                    close()
                    other.hk.submit("s", "up", "after")

                stream.close = closing
            return stream

        monkeypatch.setattr(Database, "changes", before)
        one.hk.start_relay()
        eventually(lambda: channel.comments == ["before"])
        other.hk.submit("s", "up", "meanwhile")
        eventually(lambda: sorted(channel.comments) == ["after", "before", "meanwhile"])


# --- group commit -----------------------------------------------------------------------------------------------------


class Slow:
    """A storage that lets a write end only when somebody waits behind it, or nobody will."""

    def __init__(self) -> None:
        self.entered, self.go = Event(), Event()
        self.written: list[str] = []
        self._lock = Lock()

    def __call__(self, items: Any) -> Any:
        self.entered.set()
        assert self.go.wait(PATIENCE)
        with self._lock:
            self.written += [item.feedback.id for item in items]
        return [Stored(item.feedback) for item in items]


def entry(name: object) -> Accepted:
    """Something to write."""
    return Accepted(a_feedback(str(name)))


@pytest.mark.parametrize("behind", ["callers", "futures", "both"])
def test_who_waits_behind_a_write_is_woken_when_it_ends(behind: str) -> None:
    """Callers and futures that were queued during a write are written when it ends, and not at the next poll."""
    storage = Slow()
    group = GroupCommit(storage, max_batch=2, poll=HOUR, idle=HOUR)
    leader = Thread(target=group.commit, args=(entry("leader"),), daemon=True)
    leader.start()
    assert storage.entered.wait(PATIENCE)
    futures = [group.commit_soon(entry(f"future {number}")) for number in range(6 * (behind != "callers"))]
    callers = [
        Thread(target=group.commit, args=(entry(f"caller {number}"),), daemon=True)
        for number in range(6 * (behind != "futures"))
    ]
    for caller in callers:
        caller.start()
    eventually(lambda: group.waiting == len(futures) + len(callers))
    storage.go.set()
    for thread in (leader, *callers):
        thread.join(PATIENCE)
        assert not thread.is_alive(), "nobody wakes it"
    assert all(isinstance(future.result(PATIENCE), Stored) for future in futures)
    assert len(storage.written) == len(set(storage.written)) == 1 + len(futures) + len(callers)
    group.close()


def test_a_future_is_done_at_once_although_the_background_thread_waits() -> None:
    """The thread that completes futures is woken by each, also where it waited for a long time."""
    storage = Slow()
    storage.go.set()
    group = GroupCommit(storage, poll=HOUR, idle=HOUR)
    for number in range(3):
        assert isinstance(group.commit_soon(entry(number)).result(PATIENCE), Stored)
        eventually(lambda: group._idle)
    group.close()


def test_what_comes_between_a_look_and_a_rest_is_written() -> None:
    """A future that is queued after the background thread has looked, and before it waits, is done at once."""
    storage, written = Slow(), Event()
    looks, late = list[None](), list[Any]()
    storage.go.set()
    group = GroupCommit(storage, poll=HOUR, idle=HOUR)

    class Queue(deque[Any]):
        def __len__(self) -> int:
            length = super().__len__()
            if not length and written.is_set() and current_thread().name == "harken-group-commit":
                looks.append(None)
                if len(looks) == 2:
                    late.append(group.commit_soon(entry("late")))
            return length

    group._queue = Queue()
    # That thread looks once more as it woke itself, and then before it waits.
    group.commit_soon(entry("first"), lambda _: written.set())
    eventually(lambda: late)
    assert isinstance(late[0].result(PATIENCE), Stored)
    group.close()


def test_nobody_is_forgotten_among_many() -> None:
    """However callers and futures come, each is written once and answered without a poll."""
    storage = Slow()
    storage.go.set()
    group = GroupCommit(storage, max_batch=3, poll=HOUR, idle=HOUR)

    def write(name: int) -> list[object]:
        return [
            group.commit_soon(entry(f"{name} {number}")).result(PATIENCE)
            if (name + number) % 3
            else group.commit(entry(f"{name} {number}"))
            for number in range(15)
        ]

    results = in_threads([lambda name=name: write(name) for name in range(8)])
    assert [len(found) for found in results if isinstance(found, list)] == [15] * 8
    assert len(set(storage.written)) == len(storage.written) == 120
    group.close()


# --- the background ---------------------------------------------------------------------------------------------------


def test_a_job_wakes_a_thread_that_waits() -> None:
    """A job is begun at once by a thread that had nothing to do, and so is one that comes while that one works."""
    background = Background("jobs", threads=1, idle=HOUR)
    for _ in range(3):
        first, second = Event(), Event()

        def job(first: Event = first, second: Event = second) -> None:
            background.soon(second.set)
            first.set()

        background.soon(job)
        assert first.wait(PATIENCE)
        assert second.wait(PATIENCE)
        eventually(lambda: background._idle == 1)
    assert background.close(PATIENCE) == 0


def test_closing_wakes_threads_that_wait() -> None:
    """The end does not wait until a thread that has nothing to do looks again."""
    background, done = Background("jobs", threads=2, idle=HOUR), Event()
    background.soon(done.set)
    assert done.wait(PATIENCE)
    eventually(lambda: background._idle == 1)
    (thread,) = background._threads
    background.close(PATIENCE)
    assert not thread.is_alive()
