"""Retention: how long the feedback of applications is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import field, frozen

from harken.domain.errors import ConfigurationError
from harken.domain.feedback import FrozenMapping
from harken.domain.instants import FOREVER, format_duration, parse_duration
from harken.domain.rules import label_problem

#: A shorter time is probably a mistake: ``m`` are minutes, not months.
_SHORTEST: Final = timedelta(days=1)

#: How long feedback is kept; ``None`` is for ever.
KeptFor = timedelta | None


def _frozen(applications: Mapping[str, KeptFor]) -> FrozenMapping[KeptFor]:
    return FrozenMapping(applications)


@frozen
class Retention:
    """How long feedback is kept after its creation, by application.

    Attributes:
        default: for applications that are not named.
        applications: by the name of the application.

    Raises:
        ConfigurationError: feedback would be kept for less than a day, or the name of an application is invalid.
    """

    default: KeptFor = None
    applications: FrozenMapping[KeptFor] = field(factory=FrozenMapping, converter=_frozen)

    def __attrs_post_init__(self) -> None:
        _check("retention", self.default)
        for name, kept in self.applications.items():
            if problem := label_problem("The name of an application", name):
                raise ConfigurationError(problem.message)
            _check(_name_of(name), kept)

    @classmethod
    def parse(cls, default: object, applications: Mapping[str, object] | None = None) -> Retention:
        """Return the retention for texts such as ``"400 days"`` or ``"forever"``.

        Raises:
            ConfigurationError: a text is not a duration of at least a day, or the name of an application is invalid.
        """
        named = applications or {}
        return cls(_parse("retention", default), {name: _parse(_name_of(name), named[name]) for name in named})

    @property
    def is_set(self) -> bool:
        """Whether the feedback of any application is not kept for ever."""
        return any(kept is not None for kept in (self.default, *self.applications.values()))

    def kept_for(self, application: str) -> KeptFor:
        """How long the feedback of an application is kept."""
        return self.applications.get(application, self.default)

    def __str__(self) -> str:
        named = (f"{_to_text(kept)} for {name}" for name, kept in self.applications.items())
        return ", ".join((_to_text(self.default), *named))

    def expired_before(self, application: str, now: datetime) -> datetime | None:
        """The time before which expired feedback was created; ``None`` if all is kept."""
        kept = self.kept_for(application)
        try:
            return None if kept is None else now - kept
        except OverflowError:
            return None


def _name_of(application: str) -> str:
    return f"retention of application {application!r}"


def _to_text(kept: KeptFor) -> str:
    return FOREVER if kept is None else format_duration(kept)


def _parse(name: str, text: object) -> KeptFor:
    if text == FOREVER:
        return None
    try:
        return parse_duration(text)
    except ValueError:
        expected = "a duration in days or hours, such as '400 days' or '36h', or 'forever'"
        raise ConfigurationError(f"{name} must be {expected}; got {text!r}") from None


def _check(name: str, kept: KeptFor) -> None:
    if kept is not None and kept < _SHORTEST:
        given = format_duration(kept)
        hint = "; 'm' means minutes" if given.endswith("m") else ""
        raise ConfigurationError(f"{name} must be at least a day, such as '30 days'; got '{given}'{hint}")
