"""Wake-ups: with polls an hour apart, every write is noticed at once, and no wake-up is lost."""

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
from harken.services.background import Background
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


# --- Every kind of write ----------------------------------------------------------------------------------------------


def vote(hk: Harken, rating: str, **options: Any) -> Feedback:
    """Set the vote of one author."""
    return hk.collection.set_vote(Target("s", "m"), "ann", rating, "because", **options).feedback


def given(hk: Harken, rating: str = "up") -> str:
    """Feedback to change; returns its id."""
    return hk.submit("s", rating, "before").feedback.id


#: Each kind of write that has an event (imports without events and restored feedback have none): what is stored
#: before, and the write, which gets its id.
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
    """For each kind of write, listeners are called when it can be read, and not before."""
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
def test_a_write_is_reported_at_once(storage: Storage, name: str) -> None:
    """Listeners and channels are notified of each write in this process without a poll."""
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


def test_a_reply_of_a_responder_is_reported(storage: Storage) -> None:
    """A reply that is stored in the background can be read when listeners are called, and reaches channels at once."""
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


def test_a_vote_whose_earlier_one_is_erased_meanwhile_is_reported(storage: Storage) -> None:
    """The vote that becomes the first one is stored when listeners are called."""
    with unpolled(storage) as one:
        earlier = vote(one.hk, "up")
        one.looks.clear()
        erase = one.hk.query(session_id="s").in_any_state()
        later = vote(one.hk, "down", check=lambda _: one.hk.collection.erase(erase))
        assert later.id != earlier.id
        assert [set(look) for look in one.looks[-1:]] == [{later.id}]


# --- Wake-ups ---------------------------------------------------------------------------------------------------------


def test_a_write_during_a_poll_of_the_feed_is_reported(storage: Storage) -> None:
    """A write after the feed has read the storage, and before its poll ends, is found at once."""
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


def test_a_write_while_a_listener_starts_is_reported(storage: Storage) -> None:
    """A write right after the first listener has read the storage, before the thread polls, is found."""
    woken = Event()
    with unpolled(storage) as one:
        one.feedback.after["changes"] = once(lambda: one.hk.submit("s", "up", "meanwhile"))
        listener = one.hk.feed.listen("default", woken.set)
        assert woken.wait(PATIENCE), "the wake-up was lost"
        assert [news.feedback.comment for news in listener.take() if news.feedback] == ["meanwhile"]


def test_a_write_after_the_last_listener_left_is_not_lost(storage: Storage) -> None:
    """The polling thread ends with the last listener; a new listener is notified nevertheless."""
    with unpolled(storage) as one:
        for number in range(3):
            woken = Event()
            listener = one.hk.feed.listen("default", woken.set)
            one.hk.submit("s", "up", str(number))
            assert woken.wait(PATIENCE), "the wake-up was lost"
            assert [news.feedback.comment for news in listener.take() if news.feedback] == [str(number)]
            listener.close()
            one.hk.feed.nudge()


def test_a_write_during_a_poll_of_the_relay_is_sent(storage: Storage) -> None:
    """A write after the relay has found nothing more, and before it waits, is sent at once."""
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


def test_a_delivery_during_a_poll_of_a_channel_is_sent(storage: Storage) -> None:
    """A delivery that is due after a channel has claimed, and before it waits, is sent at once."""
    channel, made, idle = Recorder(), Event(), Event()

    with unpolled(storage, channels={"ops": channel}) as one:
        rounds = iter(range(1, 4))

        def write(_: object) -> None:
            if number := next(rounds, None):
                made.clear()
                idle.clear()
                one.hk.submit("s", "up", f"meanwhile {number}")
                # By then the relay has created the delivery and woken the channel.
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
def test_due_deliveries_are_sent_when_the_relay_starts(storage: Storage, stage: str) -> None:
    """Events and deliveries from before do not wait for the next event."""
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
def test_writes_of_other_processes_are_noticed_at_once_on_a_replica_set(
    mongodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay sends what others write, also right before and right after it starts to watch for changes."""
    from harken_adapters.storage.mongodb.database import Database  # noqa: PLC0415 - only where there is a MongoDB

    channel, changes = Recorder(), Database.changes
    with ExitStack() as stack:
        one = stack.enter_context(unpolled(stack.enter_context(open_storage(mongodb_url)), channels={"ops": channel}))
        other = stack.enter_context(unpolled(stack.enter_context(open_storage(mongodb_url))))
        quiet = Event()
        one.outbox.after["events"] = lambda found: found or quiet.set()

        def before(*arguments: Any, **options: Any) -> Any:
            # By then the relay has polled, so only the watch can wake it.
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


# --- Group commit -----------------------------------------------------------------------------------------------------


class Slow:
    """A storage whose write ends only when others wait for it, or none will."""

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
    """An item to write."""
    return Accepted(a_feedback(str(name)))


@pytest.mark.parametrize("waiting", ["callers", "futures", "both"])
def test_items_queued_during_a_write_are_written_when_it_ends(waiting: str) -> None:
    """Callers and futures that were queued during a write are written when it ends, and not at the next poll."""
    storage = Slow()
    group = GroupCommit(storage, max_batch=2, poll=HOUR, idle=HOUR)
    leader = Thread(target=group.commit, args=(entry("leader"),), daemon=True)
    leader.start()
    assert storage.entered.wait(PATIENCE)
    futures = [group.commit_soon(entry(f"future {number}")) for number in range(6 * (waiting != "callers"))]
    callers = [
        Thread(target=group.commit, args=(entry(f"caller {number}"),), daemon=True)
        for number in range(6 * (waiting != "futures"))
    ]
    for caller in callers:
        caller.start()
    eventually(lambda: group.waiting == len(futures) + len(callers))
    storage.go.set()
    for thread in (leader, *callers):
        thread.join(PATIENCE)
        assert not thread.is_alive(), "it was not woken"
    assert all(isinstance(future.result(PATIENCE), Stored) for future in futures)
    assert len(storage.written) == len(set(storage.written)) == 1 + len(futures) + len(callers)
    group.close()


def test_a_future_is_done_at_once_although_the_background_thread_waits() -> None:
    """The thread that completes futures is woken by each, even after it has waited for long."""
    storage = Slow()
    storage.go.set()
    group = GroupCommit(storage, poll=HOUR, idle=HOUR)
    for number in range(3):
        assert isinstance(group.commit_soon(entry(number)).result(PATIENCE), Stored)
        eventually(lambda: group._idle)
    group.close()


def test_an_item_between_a_check_and_a_wait_is_written() -> None:
    """A future that is queued after the background thread has checked the queue, and before it waits, is done at
    once.
    """
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
    # The thread checks once more as it woke itself, and then before it waits.
    group.commit_soon(entry("first"), lambda _: written.set())
    eventually(lambda: late)
    assert isinstance(late[0].result(PATIENCE), Stored)
    group.close()


def test_every_one_of_many_is_answered() -> None:
    """With any order of callers and futures, each is written once and answered without a poll."""
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


# --- Background -------------------------------------------------------------------------------------------------------


def test_a_job_wakes_an_idle_thread() -> None:
    """An idle thread starts a job at once, and another one starts a job that comes while the first works."""
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


def test_closing_wakes_idle_threads() -> None:
    """Closing does not wait until the idle time of a thread is over."""
    background, done = Background("jobs", threads=2, idle=HOUR), Event()
    background.soon(done.set)
    assert done.wait(PATIENCE)
    eventually(lambda: background._idle == 1)
    (thread,) = background._threads
    background.close(PATIENCE)
    assert not thread.is_alive()
