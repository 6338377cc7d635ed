"""Since when the patterns of alerts that stand have been over, and which rules have alerts that stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from harken.domain.instants import from_microseconds, to_microseconds
from harken.ports.documents import Document, DocumentRepository
from harken.ports.sessions import JsonValue

_KIND: Final = "calm"

#: An application and the name of a rule.
Place = tuple[str, str]


@frozen
class Calm:
    """What is known of the alerts of one rule that stand in one application.

    Attributes:
        application: whose.
        rule: the name of the rule, which may not be configured any more.
        since: by the id of an alert, since when its pattern has been over by the rule's margin; alerts whose pattern
            goes on are not in it.
        version: how often this was written; 0 if it never was.
    """

    application: str
    rule: str
    since: Mapping[str, datetime] = field(factory=dict)
    version: int = 0


class CalmNotes:
    """Keeps in the storage what one look at a rule has to tell the next, whichever process takes it.

    There is a note for each rule and application with an alert that stands. Where two write at once, one of them does:
    the other one's observation is made again at the next look.
    """

    def __init__(self, documents: DocumentRepository) -> None:
        self._documents = documents

    def all(self) -> dict[Place, Calm]:
        """All notes."""
        notes = map(_calm, self._documents.all(_KIND))
        return {(note.application, note.rule): note for note in notes}

    def keep(self, before: Calm, since: Mapping[str, datetime], *, standing: bool) -> None:
        """Note down since when the patterns of which alerts have been over; nothing is kept unless an alert stands."""
        if not standing:
            if before.version:
                self._documents.delete(_KIND, _name(before))
        elif not before.version or dict(before.since) != dict(since):
            self._documents.put(_KIND, Document(_name(before), _value(before, since), before.version + 1))


def _name(note: Calm) -> str:
    return json.dumps([note.application, note.rule])


def _value(note: Calm, since: Mapping[str, datetime]) -> dict[str, JsonValue]:
    return {
        "application": note.application,
        "rule": note.rule,
        "since": {alert_id: to_microseconds(at) for alert_id, at in since.items()},
    }


def _calm(document: Document) -> Calm:
    value, since = document.value, document.value["since"]
    moments = since.items() if isinstance(since, dict) else ()
    return Calm(
        application=str(value["application"]),
        rule=str(value["rule"]),
        since={alert_id: from_microseconds(at) for alert_id, at in moments if isinstance(at, int)},
        version=document.version,
    )
