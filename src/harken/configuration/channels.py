"""The configured channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

from harken.configuration import plugins
from harken.domain.errors import ConfigurationError
from harken.domain.routes import Route, name_problem
from harken.domain.texts import no_such
from harken.ports.notifier import Notifier, OpenNotifier
from harken.ports.text import TemplateRenderer
from harken.services.notifications.channels import ChannelKind

ENTRY_POINTS: Final = "harken.notifiers"
RENDERERS: Final = "harken.templates"
#: A value with this prefix is read from the environment variable of that name, so that secrets need not be in files.
FROM_ENVIRON: Final = "env:"
#: The channels if none are configured.
DEFAULT: Final[Mapping[str, Mapping[str, object]]] = {"log": {"kind": "log"}}

#: The keys of a channel's table that say where it sends to.
_DESTINATIONS: Final = (
    "url",
    "urls",
    "endpoint_url",
    "queue_url",
    "topic",
    "topic_up",
    "topic_down",
    "topic_neutral",
    "topic_alerts",
    "topic_metadata",
)

#: A channel: a notifier, or the table that describes one.
Channel = Notifier | Mapping[str, object]
#: The extra with the dependencies of a kind of channel.
_EXTRAS: Final = {
    "webhook": "webhooks",
    "apprise": "notify",
    **dict.fromkeys(("apigateway", "sqs"), "aws"),
    **dict.fromkeys(("langfuse", "mlflow", "otlp", "phoenix"), "tracing"),
}


class Channels:
    """Channels by name, in the order of the settings. They are opened when they are needed."""

    def __init__(self, channels: Mapping[str, Channel], environ: Mapping[str, str]) -> None:
        self._channels = dict(channels)
        self._environ = environ
        for name, channel in self._channels.items():
            if problem := name_problem("A channel's name", name):
                raise ConfigurationError(problem)
            if not isinstance(channel, Notifier | Mapping):
                raise ConfigurationError(
                    f"Channel {name!r} must be a table with a kind, such as {{kind = 'webhook', url = ...}}, "
                    f"or a Notifier; got a {type(channel).__name__}"
                )
            if not _kind(channel):
                raise ConfigurationError(f'Channel {name!r} has no kind; add, for example, kind = "webhook"')

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the channels."""
        return tuple(self._channels)

    def kinds(self) -> Mapping[str, ChannelKind]:
        """The kinds and destinations of the channels, without secrets. Opens no channel."""
        return {
            name: ChannelKind(kind=_kind(channel), destination=self._destination(channel))
            for name, channel in self._channels.items()
        }

    def default_routes(self) -> tuple[Route, ...]:
        """Routes for every event to every channel, used if no routes are configured."""
        return tuple(Route(name=name, channel=name) for name in self._channels)

    @contextmanager
    def open(self) -> Iterator[Mapping[str, Notifier]]:
        """The notifiers by name; those that are created here are closed at the end of the context.

        Raises:
            ConfigurationError: the configuration of a channel is invalid.
            MissingExtra: a dependency of a channel is not installed.
        """
        with ExitStack() as closing:
            opened: dict[str, Notifier] = {}
            for name, channel in self._channels.items():
                if isinstance(channel, Notifier):
                    opened[name] = channel
                    continue
                opened[name] = self._create(name, channel)
                closing.callback(opened[name].close)
            yield opened

    def _create(self, name: str, table: Mapping[str, object]) -> Notifier:
        kind = _kind(table)
        found = plugins.find(ENTRY_POINTS, kind)
        if found is None:
            raise ConfigurationError(f"Channel {name!r}: {no_such('kind', kind, plugins.names(ENTRY_POINTS))}")
        make: OpenNotifier = plugins.load(found, f"The channel {name!r}", _EXTRAS.get(kind, kind))
        try:
            return make({key: self._value(value) for key, value in table.items() if key != "kind"})
        except ConfigurationError as error:
            # Only the name of the channel is missing in the message.
            raise type(error)(f"Channel {name!r}: {error}") from error

    def _destination(self, channel: Channel) -> str:
        """Where a channel sends to: hosts and regions only, as paths, users and other parts of URLs may be secret."""
        if isinstance(channel, Notifier):
            return ""
        try:
            resolved = [self._value(channel[key]) for key in _DESTINATIONS if key in channel]
        except ConfigurationError:
            # Opening the channel reports it.
            return ""
        listed = [[one] if isinstance(one, str) else one for one in resolved]
        texts = [text for one in listed if isinstance(one, list) for text in one]
        return ", ".join(dict.fromkeys(filter(None, map(_place, texts))))

    def _value(self, value: object) -> object:
        """A value of the table, with references to environment variables resolved."""
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return [self._value(item) for item in value]
        if isinstance(value, Mapping):
            return {key: self._value(item) for key, item in value.items()}
        if not isinstance(value, str) or not value.startswith(FROM_ENVIRON):
            return value
        variable = value.removeprefix(FROM_ENVIRON)
        if variable not in self._environ:
            raise ConfigurationError(f"the environment variable {variable} is not set")
        return self._environ[variable]


def _kind(channel: Channel) -> str:
    kind = channel.get("kind") if isinstance(channel, Mapping) else type(channel).__name__
    return kind if isinstance(kind, str) else ""


def _place(text: object) -> str:
    """The host of a URL of the web, the scheme of another URL, or the region of a topic."""
    if not isinstance(text, str):
        return ""
    if text.startswith("arn:"):
        return text.split(":")[3] if text.count(":") > 3 else ""
    scheme, separator, _ = text.partition("://")
    if not separator:
        return ""
    if scheme.lower() not in ("http", "https"):
        # Other URLs are those of Apprise, which may have a token in place of the host.
        return scheme.lower() if scheme.isalnum() else ""
    try:
        return urlsplit(text).hostname or ""
    except ValueError:
        return ""


def open_renderer() -> TemplateRenderer:
    """The renderer of the routes' templates.

    Raises:
        MissingExtra: a dependency of it is not installed.
        ConfigurationError: no renderer is installed.
    """
    found = plugins.find(RENDERERS, "jinja2")
    if found is None:
        raise ConfigurationError("No installed package renders templates")
    make: Callable[[], TemplateRenderer] = plugins.load(found, "A template", "notify")
    return make()
