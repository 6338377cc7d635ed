"""Migrates the metadata of session documents, with values that come back equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from harken import Harken, InvalidMetadata
from harken.ports.sessions import JsonValue
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating.documents import Document, Recorder, Session
from harken_adapters.formats.value_encoding import encode_exactly
from harken_adapters.formats.values import plain


@frozen
class MetadataMigration:
    """Sets the values of new names. Different values of the target are kept, and those of the document rejected.

    Args:
        harken: the target.
        recorder: counts the values.
        tally: the count of values.
        dry_run: whether the values are removed again.
    """

    harken: Harken
    recorder: Recorder
    tally: Tally
    dry_run: bool

    def add(self, document: Document, session: Session) -> None:
        """Migrate the metadata of a document."""
        metadata = document.get("metadata")
        if metadata is None:
            return
        if not isinstance(metadata, Mapping):
            self.tally.read += 1
            reason = f"metadata must be an object, got {type(metadata).__name__}"
            self.recorder.reject([self.tally], session, reason, {"metadata": plain(metadata)})
            return
        self.tally.read += len(metadata)
        for name, reason in self._merge(session, metadata).items():
            self.recorder.reject([self.tally], session, reason, {"metadata": {name: plain(metadata[name])}})

    def _merge(self, session: Session, metadata: Mapping[str, Any]) -> dict[str, str]:
        """Set the values of new names. Returns the reasons by name of the values that were not set."""
        encoded: dict[str, JsonValue] = {}
        refused: dict[str, str] = {}
        for name, value in metadata.items():
            try:
                encoded[name] = encode_exactly(value, f"metadata.{name}")
            except (TypeError, ValueError) as error:
                refused[name] = str(error)
        try:
            merged = self.harken.sessions.merge(session.application, session.id, encoded)
        except InvalidMetadata as error:
            return refused | dict.fromkeys(encoded, str(error))
        self.tally.added += len(merged.added)
        self.tally.duplicates += len(merged.existing)
        if self.dry_run and merged.added:
            # It would only take memory: hardly any two documents have the same session.
            self.harken.sessions.delete(session.application, session.id, merged.added)
        return refused | dict(merged.refused)
