"""Routes as sentences."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import ModerationStatus, Rating, Route
from harken.domain.events import EventType
from harken.domain.routes import ROUTABLE
from harken_adapters.hosts.web.route_sentences import route_sentence

DOWN, UP, NEUTRAL = [Rating.DOWN], [Rating.UP], [Rating.NEUTRAL]
NEW, CHANGED = EventType.CREATED, EventType.UPDATED
CHANGED_SESSION = EventType.SESSION_UPDATED
RAISED, RESOLVED = EventType.ALERT_RAISED, EventType.ALERT_RESOLVED


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({}, "Everything goes to team"),
        ({"ratings": DOWN, "agents": ["American"]}, "Thumbs-down feedback about American goes to team"),
        ({"ratings": DOWN + UP}, "Thumbs-up and thumbs-down feedback goes to team"),
        ({"ratings": NEUTRAL}, "Neutral feedback goes to team"),
        ({"ratings": DOWN + UP + NEUTRAL}, "Feedback goes to team"),
        ({"agents": ["b", "a"]}, "Feedback and alerts about a or b go to team"),
        ({"tags": ["late", "lost bag"]}, "Feedback with the reason late or lost bag goes to team"),
        ({"events": [NEW], "ratings": DOWN}, "New thumbs-down feedback goes to team"),
        ({"events": [NEW, CHANGED]}, "New and changed feedback goes to team"),
        ({"events": [RAISED]}, "Raised alerts go to team"),
        ({"events": [RAISED, RESOLVED], "agents": ["a"]}, "Alerts about a go to team"),
        ({"events": [NEW, RAISED]}, "New feedback and raised alerts go to team"),
        ({"events": [NEW, RAISED], "ratings": DOWN}, "New thumbs-down feedback goes to team"),
        ({"statuses": [ModerationStatus.PENDING], "ratings": DOWN}, "Held thumbs-down feedback goes to team"),
        (
            {"statuses": [ModerationStatus.PENDING, ModerationStatus.REJECTED]},
            "Held or rejected feedback goes to team",
        ),
        ({"events": [CHANGED_SESSION]}, "Changes of session metadata go to team"),
        (
            {"events": [NEW, RAISED, CHANGED_SESSION]},
            "New feedback, raised alerts and changes of session metadata go to team",
        ),
        ({"events": [RAISED], "ratings": DOWN}, "Nothing goes to team: alerts have no rating, reason or status"),
    ],
)
def test_sentences(filters: dict[str, Any], sentence: str) -> None:
    """A sentence says what goes where."""
    assert route_sentence(Route(name="r", channel="team", **filters)) == sentence


@given(
    st.sets(st.sampled_from([type_ for type_ in ROUTABLE if type_ is not CHANGED_SESSION])),
    st.sets(st.sampled_from(Rating)),
    st.sets(st.sampled_from(ModerationStatus)),
    st.sets(st.sampled_from(["Ann", "Bob"])),
    st.sets(st.sampled_from(["late", "slow"])),
)
def test_every_route_has_a_sentence(events: Any, ratings: Any, statuses: Any, agents: Any, tags: Any) -> None:
    """The sentence of any route is one line, names all agents and reasons, and has no gaps."""
    route = Route(name="r", channel="team", events=events, ratings=ratings, statuses=statuses, agents=agents, tags=tags)
    sentence = route_sentence(route)
    assert "  " not in sentence
    assert "to team" in sentence
    assert sentence[0].isupper()
    assert sentence.startswith("Nothing") or all(name in sentence for name in {*agents, *tags})
