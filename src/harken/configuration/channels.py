"""The channels that are configured, and how they are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from harken.configuration import plugins
from harken.domain.errors import ConfigurationError
from harken.domain.routes import Route, name_problem
from harken.ports.notifier import Notifier, OpenNotifier
from harken.ports.text import TemplateRenderer

ENTRY_POINTS: Final = "harken.notifiers"
RENDERERS: Final = "harken.templates"
#: Before the name of a variable, in the place of a value that should stand in no file.
FROM_ENVIRON: Final = "env:"
#: The channel that there is where none is configured.
DEFAULT: Final[Mapping[str, Mapping[str, object]]] = {"log": {"kind": "log"}}

#: A channel: a notifier that is ready, or the table that describes one.
Channel = Notifier | Mapping[str, object]
#: The extra that brings what a kind of channel needs.
_EXTRAS: Final = {"webhook": "webhooks", "apprise": "notify"}


class Channels:
    """Channels by name, in the order in which they were given, opened when they are needed."""

    def __init__(self, channels: Mapping[str, Channel], environ: Mapping[str, str]) -> None:
        self._channels = dict(channels)
        self._environ = environ
        for name, channel in self._channels.items():
            if problem := name_problem("A channel's name", name):
                raise ConfigurationError(problem)
            if not isinstance(channel, Notifier | Mapping) or not _kind(channel):
                raise ConfigurationError(
                    f"Channel {name!r} must be a table with a kind, such as {{kind = 'webhook', url = ...}}, "
                    f"or a Notifier; got a {type(channel).__name__}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(self._channels)

    def everything(self) -> tuple[Route, ...]:
        """Routes by which everything goes everywhere: those of whoever has channels and says nothing of routes."""
        return tuple(Route(name=name, channel=name) for name in self._channels)

    @contextmanager
    def open(self) -> Iterator[Mapping[str, Notifier]]:
        """The notifiers, ready; those that were made here are closed at the end.

        Raises:
            ConfigurationError: a channel cannot be used as it is configured.
            MissingExtra: what it needs is not installed.
        """
        with ExitStack() as closing:
            opened: dict[str, Notifier] = {}
            for name, channel in self._channels.items():
                if isinstance(channel, Notifier):
                    opened[name] = channel
                    continue
                opened[name] = self._made(name, channel)
                closing.callback(opened[name].close)
            yield opened

    def _made(self, name: str, table: Mapping[str, object]) -> Notifier:
        kind = _kind(table)
        found = plugins.find(ENTRY_POINTS, kind)
        if found is None:
            known = ", ".join(plugins.names(ENTRY_POINTS))
            raise ConfigurationError(f"Channel {name!r} is of the unknown kind {kind!r}; known are {known}")
        make: OpenNotifier = plugins.load(found, f"The channel {name!r}", _EXTRAS.get(kind, kind))
        try:
            return make({key: self._value(value) for key, value in table.items() if key != "kind"})
        except ConfigurationError as error:
            # What is wrong with it is told; which channel it is, only who has them all knows.
            raise type(error)(f"Channel {name!r}: {error}") from error

    def _value(self, value: object) -> object:
        """A value of the table, with variables looked up, so that secrets need not stand in files."""
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return [self._value(item) for item in value]
        if not isinstance(value, str) or not value.startswith(FROM_ENVIRON):
            return value
        variable = value.removeprefix(FROM_ENVIRON)
        if variable not in self._environ:
            raise ConfigurationError(f"the variable {variable} is not set")
        return self._environ[variable]


def _kind(channel: Channel) -> str:
    kind = channel.get("kind") if isinstance(channel, Mapping) else type(channel).__name__
    return kind if isinstance(kind, str) else ""


def open_renderer() -> TemplateRenderer:
    """What makes texts of routes' templates.

    Raises:
        MissingExtra: what it needs is not installed.
    """
    found = plugins.find(RENDERERS, "jinja2")
    if found is None:
        raise ConfigurationError("Nothing that is installed makes texts of templates")
    make: Callable[[], TemplateRenderer] = plugins.load(found, "A template", "notify")
    return make()
