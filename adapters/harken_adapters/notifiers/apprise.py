"""Slack, mail, PagerDuty, Teams, Discord and the rest, by URLs of Apprise."""

from __future__ import annotations

import logging
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Final

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.events import EventType
from harken.domain.text_lists import as_texts
from harken.ports.notifier import Notification, Notifier
from harken_adapters.notifiers.missing import missing
from harken_adapters.notifiers.tables import check_keys
from harken_adapters.notifiers.wording import headline, lines_of, one_line, paragraphs, worrying

_KEYS: Final = ("url", "urls")
_SCHEMA: Final = re.compile(r"([a-z0-9]{1,20})://", re.IGNORECASE)
_STATUS: Final = re.compile(r"error=(\d{3})\b")

#: Two groups of services are asked one after the other, and 20 seconds are all that there is.
_SECONDS: Final = 8
_LONGEST_TITLE: Final = 150
#: How many notifications are remembered that only some of the services took.
_MOST_REMEMBERED: Final = 1_000

#: Services that are sent plain text and show it as Markdown, whatever they are told.
_SHOW_MARKDOWN: Final = frozenset({"discord", "fluxer", "fluxers", "guilded", "mmost", "mmosts"}) | frozenset(
    {"nctalk", "nctalks", "notifiarr", "revolt", "ryver", "zulip"}
)
#: What Markdown would make something of, but for what stands in most texts and does no harm.
_MARKDOWN: Final = re.compile(r"([\\`*_~|\[\]<>#])")
#: What has no place in a title: services make something of it there that they would not in a body.
_MARKUP: Final = re.compile(r"[\\`*~|\[\]<>#&]+")
#: What names somebody to be told, a channel, or a link: ``@everyone``, ``<!channel>``, ``<@U123>``, ``<url|text>``.
_NAMING: Final = re.compile(r"[@<](?=\S)")
#: Has no width, and no service takes what stands before it together with what stands behind it.
_BREAK: Final = "\u200b"

#: Where the reasons go while something is sent; ``None`` while nothing is.
_reasons: Final[ContextVar[list[str] | None]] = ContextVar("harken_apprise_reasons", default=None)


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """The channel that a table of the settings describes: ``url``, or ``urls`` if there are several.

    Raises:
        ConfigurationError: a key is unknown, or a URL is none that Apprise knows; the error never shows it, as it has
            secrets.
        MissingExtra: Apprise is not installed.
    """
    check_keys("An Apprise channel", table, _KEYS)
    if len(table) != 1:
        raise ConfigurationError("An Apprise channel needs either a url or urls, such as url = 'slack://...'")
    urls = [table["url"]] if "url" in table else table["urls"]
    if not isinstance(urls, Sequence) or isinstance(urls, str) or not urls:
        raise ConfigurationError("urls of an Apprise channel must be a list of texts, with one at least")
    if not all(isinstance(url, str) for url in urls):
        raise ConfigurationError("Each URL of an Apprise channel must be a text")
    return AppriseNotifier([str(url) for url in urls])


class AppriseNotifier(Notifier):
    """Sends notifications to services by Apprise.

    What people wrote is shown as they wrote it: it can neither mention anybody nor make links, markup or headers. What
    only some of the services took goes to the others alone when it is tried again, as long as this process lives.

    Args:
        urls: one for each service. They have secrets, so they are in no error, no log and no ``repr``.

    Raises:
        ConfigurationError: a URL is none that Apprise knows.
        MissingExtra: Apprise is not installed.
    """

    def __init__(self, urls: str | Sequence[str]) -> None:
        try:
            import apprise  # noqa: PLC0415 - only this channel needs it
        except ModuleNotFoundError as error:
            raise missing("An Apprise channel", "apprise", "notify") from error

        self._apprise = apprise
        self._asset = apprise.AppriseAsset(
            app_id="Harken", app_desc="Harken", storage_mode="memory", service_timeout=_SECONDS
        )
        self._urls = as_texts(urls)
        self._taken: OrderedDict[str, frozenset[int]] = OrderedDict()
        self._lock = Lock()
        _keep_quiet()
        with _collecting(), warnings.catch_warnings():
            # Its plugins for mail look for a module that is deprecated, and do without it where it is gone.
            warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
            for number, url in enumerate(self._urls, start=1):
                if self._service(url) is None:
                    raise ConfigurationError(
                        f"URL {number} of the Apprise channel ({_shown(url)}) is none that Apprise can send to; "
                        "see https://github.com/caronc/apprise for how they are made, and what some need installed"
                    )

    def deliver(self, notification: Notification) -> None:
        """Send it to every service that has not taken it yet."""
        before = self._taken.get(notification.id, frozenset())
        missing_ones = [number for number in range(len(self._urls)) if number not in before]
        with _collecting() as reasons:
            try:
                taken = self._send(notification, missing_ones)
            except Exception as error:  # noqa: BLE001 - what plugins raise is anybody's guess, and may quote a URL
                raise DeliveryFailed(f"Apprise could not send it: {type(error).__name__}") from None
        failed = [number for number in missing_ones if number not in taken]
        self._remember(notification.id, before | taken if failed else frozenset())
        if failed:
            raise DeliveryFailed(self._failure(failed, reasons))

    def _send(self, notification: Notification, numbers: Sequence[int]) -> frozenset[int]:
        """Send it to these services, and give those that took it."""
        # New for each notification: a service remembers when it sent last, and is not made for several threads.
        services = {number: self._service(self._urls[number]) for number in numbers}
        taken: set[int] = set()
        for escaping in (False, True):
            group = {number: one for number, one in services.items() if self._shows_markdown(one) is escaping}
            if group:
                taken |= self._send_to(group, notification, escaping=escaping)
        return frozenset(taken)

    def _send_to(self, services: Mapping[int, Any], notification: Notification, *, escaping: bool) -> set[int]:
        title, body = _words(notification)
        sender = self._apprise.Apprise(list(services.values()), asset=self._asset)
        result = sender.notify(
            title=_escaped(title) if escaping else title,
            body=_escaped(body) if escaping else body,
            notify_type=_severity(notification),
            body_format=self._apprise.NotifyFormat.TEXT,
        )
        return {number for number, one in zip(services, result.results, strict=False) if one}

    def _service(self, url: str) -> Any:
        """The service of a URL, which tries once, does not wait between requests and gets all of a long text."""
        service = self._apprise.Apprise.instantiate(url, asset=self._asset)
        if service is None:
            return None
        service.request_rate_per_sec = 0
        service.socket_connect_timeout = min(service.socket_connect_timeout, _SECONDS)
        service.socket_read_timeout = min(service.socket_read_timeout, _SECONDS)
        service.retry = 0
        service.optional = False
        if service.overflow_mode is self._apprise.OverflowMode.UPSTREAM:
            service.overflow_mode = self._apprise.OverflowMode.SPLIT
        return service

    def _shows_markdown(self, service: Any) -> bool:
        plain = service.resolve_format(self._apprise.NotifyFormat.TEXT) is self._apprise.NotifyFormat.TEXT
        return plain and not _SHOW_MARKDOWN.isdisjoint(service.schemas())

    def _remember(self, notification_id: str, taken: frozenset[int]) -> None:
        with self._lock:
            self._taken.pop(notification_id, None)
            if taken:
                self._taken[notification_id] = taken
            if len(self._taken) > _MOST_REMEMBERED:
                self._taken.popitem(last=False)

    def _failure(self, failed: Sequence[int], reasons: Sequence[str]) -> str:
        which = ", ".join(f"URL {number + 1} ({_shown(self._urls[number])})" for number in failed)
        statuses = sorted({match[1] for reason in reasons if (match := _STATUS.search(reason))})
        why = f"answered with {', '.join(statuses)}" if statuses else "not reached, too slow, or not willing"
        return f"Apprise could not send it to {which}: {why}"


def _words(notification: Notification) -> tuple[str, str]:
    """The title and the body, in which nobody can be named."""
    text = (notification.text or "").strip()
    lines = lines_of(text) if text else paragraphs(notification)
    # Feedback's first line says nothing that is not in the others; of what else there is, it is what matters.
    body = lines if text or notification.feedback is None else lines[2:]
    title = " ".join(_MARKUP.sub(" ", headline(notification)).split())[:_LONGEST_TITLE]
    return _unnaming(title), _unnaming("\n".join(body))


def _unnaming(text: str) -> str:
    return _NAMING.sub(lambda found: f"{found[0]}{_BREAK}", text)


def _escaped(text: str) -> str:
    """The text as Markdown that shows it as it is."""
    return _MARKDOWN.sub(r"\\\1", text)


def _severity(notification: Notification) -> str:
    """One of Apprise's four; some services close an incident at a success."""
    if notification.type is EventType.ALERT_RESOLVED:
        return "success"
    if notification.type is EventType.ALERT_RAISED:
        return "failure"
    return "warning" if worrying(notification) else "info"


def _shown(url: str) -> str:
    """What of a URL is no secret."""
    found = _SCHEMA.match(url)
    return f"{found[1].lower()}://..." if found else "without ://"


# --- Apprise writes URLs and bodies into its log, and urllib3 the paths that it posts to ------------------------------


class _Quiet(logging.Filter):
    """Keeps from the log what is said while something is sent, and takes it down instead."""

    def filter(self, record: logging.LogRecord) -> bool:
        reasons = _reasons.get()
        if reasons is None:
            return True
        if record.levelno >= logging.WARNING:
            reasons.append(one_line(record.getMessage()))
        return False


_QUIET: Final = _Quiet()


def _keep_quiet() -> None:
    for name in ("apprise", "urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_QUIET)


@contextmanager
def _collecting() -> Iterator[list[str]]:
    """While the context lasts, nothing of this thread, or of threads that it starts, is logged by Apprise."""
    reasons: list[str] = []
    token = _reasons.set(reasons)
    try:
        yield reasons
    finally:
        _reasons.reset(token)
