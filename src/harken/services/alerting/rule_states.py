"""Since when the patterns of open alerts have been over, by rule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from harken.domain.instants import from_microseconds, to_microseconds
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository

_KIND: Final = "rule-state"

#: An application and the name of a rule.
RuleKey = tuple[str, str]


@frozen
class RuleState:
    """What is known about the open alerts of one rule in one application.

    Attributes:
        application: whose.
        rule: the name of the rule, which may not be configured any more.
        over_since: by the id of an alert, since when its pattern has been over by the rule's margin; alerts whose
            pattern goes on are not in it.
        version: how often this was written; 0 if it never was.
    """

    application: str
    rule: str
    over_since: Mapping[str, datetime] = field(factory=dict)
    version: int = 0


class RuleStates:
    """Keeps in the storage what one evaluation of a rule leaves for the next, in any process.

    There is a state for each rule and application with an open alert. Where two processes write at once, one of them
    succeeds: the other one's observation is made again at the next evaluation.
    """

    def __init__(self, state: StateRepository) -> None:
        self._state = state

    def all(self) -> dict[RuleKey, RuleState]:
        """All states."""
        states = map(_state, self._state.all(_KIND))
        return {(state.application, state.rule): state for state in states}

    def save(self, before: RuleState, over_since: Mapping[str, datetime], *, has_open: bool) -> None:
        """Save since when the patterns of which alerts have been over; without an open alert, remove the state."""
        if not has_open:
            if before.version:
                self._state.delete(_KIND, _name(before))
        elif not before.version or dict(before.over_since) != dict(over_since):
            self._state.put(_KIND, StateEntry(_name(before), _value(before, over_since), before.version + 1))


def _name(state: RuleState) -> str:
    return json.dumps([state.application, state.rule])


def _value(state: RuleState, over_since: Mapping[str, datetime]) -> dict[str, JsonValue]:
    return {
        "application": state.application,
        "rule": state.rule,
        "since": {alert_id: to_microseconds(at) for alert_id, at in over_since.items()},
    }


def _state(entry: StateEntry) -> RuleState:
    value, since = entry.value, entry.value["since"]
    moments = since.items() if isinstance(since, dict) else ()
    return RuleState(
        application=str(value["application"]),
        rule=str(value["rule"]),
        over_since={alert_id: from_microseconds(at) for alert_id, at in moments if isinstance(at, int)},
        version=entry.version,
    )
