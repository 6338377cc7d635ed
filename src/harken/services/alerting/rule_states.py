"""The state of alert rules: since when the patterns of open alerts have ended."""

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
    """The state of the open alerts of one rule in one application.

    Attributes:
        application: the application.
        rule: the name of the rule, which may not be configured any more.
        ended_since: by alert id, since when its pattern has ended by the rule's margin; without alerts whose pattern
            continues.
        version: the number of writes; 0 if it is not stored.
    """

    application: str
    rule: str
    ended_since: Mapping[str, datetime] = field(factory=dict)
    version: int = 0


class RuleStates:
    """Stores the state of rules from one evaluation to the next, in any process.

    There is a state for each rule and application with an open alert. If two processes write at the same time, one of
    them succeeds: the next evaluation repeats the observation of the other one.
    """

    def __init__(self, state: StateRepository) -> None:
        self._state = state

    def all(self) -> dict[RuleKey, RuleState]:
        """All states."""
        states = map(_state, self._state.all(_KIND))
        return {(state.application, state.rule): state for state in states}

    def save(self, before: RuleState, ended_since: Mapping[str, datetime], *, has_open: bool) -> None:
        """Store since when the patterns of alerts have ended; without an open alert, remove the state."""
        if not has_open:
            if before.version:
                self._state.delete(_KIND, _name(before))
        elif not before.version or dict(before.ended_since) != dict(ended_since):
            self._state.put(_KIND, StateEntry(_name(before), _value(before, ended_since), before.version + 1))


def _name(state: RuleState) -> str:
    return json.dumps([state.application, state.rule])


def _value(state: RuleState, ended_since: Mapping[str, datetime]) -> dict[str, JsonValue]:
    return {
        "application": state.application,
        "rule": state.rule,
        "since": {alert_id: to_microseconds(at) for alert_id, at in ended_since.items()},
    }


def _state(entry: StateEntry) -> RuleState:
    value, since = entry.value, entry.value["since"]
    moments = since.items() if isinstance(since, dict) else ()
    return RuleState(
        application=str(value["application"]),
        rule=str(value["rule"]),
        ended_since={alert_id: from_microseconds(at) for alert_id, at in moments if isinstance(at, int)},
        version=entry.version,
    )
