"""Fills an application of a dashboard with hostile texts, wherever the dashboard shows texts of people."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from harken import Feedback, Harken, Route
from harken.clock import utc_now
from hosts.browser.dashboard import HELD, Dashboard
from hosts.browser.test_hostile_texts import TEXTS
from support import ManualClock

_DAYS: Final = 10
_COMPLAINTS: Final = ("The checkout froze", "Wrong price", "Far too slow", "My suitcase is lost", "A dirty seat")
#: As ids, texts are shorter, and have no control characters.
NAMES: Final = tuple(
    "".join(character for character in text if character >= " ")[:100].strip() or "empty" for text in TEXTS
)


def fill(dashboard: Dashboard, application: str) -> Feedback:
    """Fill an application. Returns an entry with a conversation, whose notification was refused."""
    clock = ManualClock(utc_now() - timedelta(days=_DAYS))
    with dashboard.connect(clock) as hk:
        for day in range(_DAYS):
            for place in range(len(TEXTS)):
                _submit_ordinary(hk, application, place, day)
            clock.turn(days=1)
        clock.turn(hours=-2)
        for text, name in zip(TEXTS, NAMES, strict=True):
            clock.turn(minutes=1)
            hk.submit(name, "up", f"{HELD} {text}", application=application, agent_id=name, author=name)
        for place in range(len(TEXTS)):
            clock.turn(minutes=1)
            _submit_hostile(hk, application, place)
        entry = _converse(hk, application)
        _decide(hk, application)
    _configure(dashboard.hk, application)
    dashboard.hk.relay.run_due()
    return entry


def _submit_ordinary(hk: Harken, application: str, place: int, day: int) -> None:
    """Feedback of which some groups have enough for statistics."""
    is_down = (place + day) % 3 == 0
    hk.submit(
        f"{place} on {day}",
        "down" if is_down else "up",
        _COMPLAINTS[(place + day) % 5] if is_down else "",
        application=application,
        agent_id=NAMES[place % 4],
        tags=[NAMES[place % 3]] if is_down else [],
        context={"version": NAMES[place % 2], "segment": str(day % 2)},
    )


def _submit_hostile(hk: Harken, application: str, place: int) -> None:
    """Feedback whose every text is hostile; two in a row of each session raise an alert."""
    hk.submit(
        NAMES[place // 2],
        "down",
        TEXTS[place],
        application=application,
        agent_id=NAMES[place],
        author=NAMES[place],
        tags=[NAMES[place], "slow"],
        context={"version": TEXTS[place][:200], "segment": NAMES[place]},
    )


def _converse(hk: Harken, application: str) -> Feedback:
    session, agent = NAMES[3], NAMES[0]
    for number, text in enumerate(TEXTS):
        message = {
            "role": "assistant" if number % 2 else "user",
            "content": [{"text": text}],
            "tracking_id": f"{number}",
        }
        hk.conversations.append(application, session, agent, number, {"message": message, "message_id": number})
    hk.sessions.update(application, session, {f"key_{number}": text for number, text in enumerate(TEXTS)})
    hk.submit(session, "up", TEXTS[0], application=application, agent_id=agent)
    about = {"application": application, "agent_id": agent}
    vote = hk.vote(session, "down", TEXTS[1], author=NAMES[4], message_id="7", tags=["slow"], **about)
    gone = hk.vote(session, "down", "Taken back", author=NAMES[5], message_id="9", **about)
    hk.withdraw(gone.feedback.id, application=application)
    return vote.feedback


def _decide(hk: Harken, application: str) -> None:
    """Reject and approve what is held, for hostile reasons, as hostile moderators."""
    waiting = hk.moderation.queue(hk.query(application=application), limit=12).items
    for place, feedback in enumerate(waiting):
        status = "rejected" if place % 2 else "approved"
        hk.moderation.decide(
            application, feedback.id, status, moderator=NAMES[place], reason=NAMES[place] if place % 2 else ""
        )


def _configure(hk: Harken, application: str) -> None:
    """Keys and routes with hostile names."""
    for name in NAMES[:8]:
        hk.keys.create(application, ["read", "admin"], name=name, agents=[name])
    hk.keys.revoke(hk.keys.create(application, ["submit"], name=NAMES[9]).key.id)
    hk.routes.put(
        Route(name="r" * 60, channel="support", agents=NAMES[:9], tags=NAMES[9:20], applications=[application])
    )
