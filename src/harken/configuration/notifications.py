"""Settings of notifications, from arguments or ``harken.toml``: channels, routes, alert rules, replies and digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from harken.configuration.channels import DEFAULT, Channel, Channels
from harken.configuration.settings import tables
from harken.domain.alerts.rules import AlertRule
from harken.domain.alerts.tables import parse_rule
from harken.domain.errors import ConfigurationError
from harken.domain.replies import ReplyRule, parse_reply
from harken.domain.routes import Route, parse_route

if TYPE_CHECKING:
    from harken.domain.digest import DigestRule

T = TypeVar("T")


@frozen(kw_only=True)
class NotificationSettings:
    """Channels, routes, alert rules, reply rules and digests.

    Attributes:
        channels: the channels.
        routes: which events go to which channel.
        alert_rules: the patterns that raise alerts.
        replies: the rules for replies to submitters.
        digests: the digests.
        public_url: the URL at which browsers reach the HTTP service; empty if unknown.
    """

    channels: Channels = field(factory=lambda: Channels({}, {}))
    routes: tuple[Route, ...] = ()
    alert_rules: tuple[AlertRule, ...] = ()
    replies: tuple[ReplyRule, ...] = ()
    digests: tuple[DigestRule, ...] = ()
    public_url: str = ""

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str],
        directory: Path,
        *,
        channels: Mapping[str, Channel] | None = None,
        routes: Sequence[Route | Mapping[str, object]] | None = None,
        alert_rules: Sequence[AlertRule | Mapping[str, object]] | None = None,
        replies: Sequence[ReplyRule | Mapping[str, object]] | None = None,
        digests: Sequence[DigestRule | Mapping[str, object]] | None = None,
        public_url: str | None = None,
    ) -> NotificationSettings:
        """The settings: arguments that are not ``None``, then the file.

        Without channels there is one, ``log``. Without routes, every event goes to every channel. The file is
        ``harken.toml`` in ``directory``, or what ``HARKEN_CONFIG`` names, with the tables ``[channels.*]``,
        ``[[routes]]``, ``[[alerts]]``, ``[[replies]]`` and ``[[digests]]``. The public URL is that of ``[server]``.

        Raises:
            ConfigurationError: a setting is invalid.
            RouteRejected: a route is invalid.
        """
        file = tables(environ, directory)
        named = Channels(_channels(file) if channels is None else channels, environ)
        described = _parse_all(_read_list(file, "routes") if routes is None else routes, Route, parse_route)
        return cls(
            channels=named,
            routes=described or named.default_routes(),
            alert_rules=_parse_all(
                _read_list(file, "alerts") if alert_rules is None else alert_rules, AlertRule, parse_rule
            ),
            replies=_parse_all(_read_list(file, "replies") if replies is None else replies, ReplyRule, parse_reply),
            digests=_digests(_read_list(file, "digests") if digests is None else digests),
            public_url=_public_url(environ, file) if public_url is None else public_url,
        )


def _digests(given: Sequence[DigestRule | Mapping[str, object]]) -> tuple[DigestRule, ...]:
    if not given:
        return ()
    from harken.domain.digest import DigestRule, parse_digest  # noqa: PLC0415 - keeps `import harken` light

    return _parse_all(given, DigestRule, parse_digest)


def _public_url(environ: Mapping[str, str], file: Mapping[str, Any]) -> str:
    """A setting of the HTTP service, which checks it."""
    server = file.get("server", {})
    found = environ.get("HARKEN_SERVER_PUBLIC_URL") or (server.get("public_url") if isinstance(server, dict) else "")
    return found if isinstance(found, str) else ""


def _channels(file: Mapping[str, Any]) -> Mapping[str, Channel]:
    found = file.get("channels", DEFAULT)
    if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
        raise ConfigurationError("channels must be tables, such as [channels.support]")
    return found


def _read_list(file: Mapping[str, Any], name: str) -> Sequence[Mapping[str, object]]:
    found = file.get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise ConfigurationError(f"{name} must be a list of tables, each [[{name}]]")
    return found


def _parse_all(
    given: Iterable[T | Mapping[str, object]], kind: Any, parse: Callable[[Mapping[str, object]], T]
) -> tuple[T, ...]:
    return tuple(one if isinstance(one, kind) else parse(one) for one in given)  # type: ignore[arg-type] # by kind
