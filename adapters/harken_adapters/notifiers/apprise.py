"""Slack, mail, PagerDuty, Teams, Discord and other services, by URLs of Apprise."""

from __future__ import annotations

import logging
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.events import EventType
from harken.domain.text_lists import as_texts
from harken.ports.notifier import Notification, Notifier
from harken.services.forks import ForkSafeLock
from harken_adapters.notifiers.missing import missing
from harken_adapters.notifiers.tables import check_keys
from harken_adapters.notifiers.wording import headline, lines_of, one_line, paragraphs, worrying

_KEYS: Final = ("url", "urls")
_SCHEMA: Final = re.compile(r"([a-z0-9]{1,20})://", re.IGNORECASE)
_STATUS: Final = re.compile(r"error=(\d{3})\b")

#: The timeout of each of the two groups of services. A delivery may take 20 seconds in all.
_TIMEOUT_SECONDS: Final = 8
_MAX_TITLE: Final = 150
#: The maximum number of partially delivered notifications that are remembered.
_MAX_REMEMBERED: Final = 1_000

#: Services that render plain text as Markdown.
_RENDER_MARKDOWN: Final = frozenset({"discord", "fluxer", "fluxers", "guilded", "mmost", "mmosts"}) | frozenset(
    {"nctalk", "nctalks", "notifiarr", "revolt", "ryver", "zulip"}
)
#: The special characters of Markdown, except common ones without an effect.
_MARKDOWN: Final = re.compile(r"([\\`*_~|\[\]<>#])")
#: The characters that services interpret in a title.
_MARKUP: Final = re.compile(r"[\\`*~|\[\]<>#&]+")
#: The start of a mention, a channel or a link: ``@everyone``, ``<!channel>``, ``<@U123>``, ``<url|text>``.
_MENTION: Final = re.compile(r"[@<](?=\S)")
#: A zero-width space, which breaks mentions.
_BREAK: Final = "\u200b"

#: Collects the log messages of Apprise during a delivery; ``None`` otherwise.
_reasons: Final[ContextVar[list[str] | None]] = ContextVar("harken_apprise_reasons", default=None)


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes: ``url``, or ``urls`` for several.

    Raises:
        ConfigurationError: a key is unknown, or Apprise does not know a URL. The message never contains the URL, which
            has secrets.
        MissingExtra: Apprise is not installed.
    """
    check_keys(table, _KEYS)
    if len(table) != 1:
        raise ConfigurationError("An Apprise channel needs url or urls, such as url = 'slack://...'")
    urls = [table["url"]] if "url" in table else table["urls"]
    if not isinstance(urls, Sequence) or isinstance(urls, str) or not urls:
        raise ConfigurationError("urls of an Apprise channel must be a list with at least one text")
    if not all(isinstance(url, str) for url in urls):
        raise ConfigurationError("Each URL of an Apprise channel must be a string")
    return AppriseNotifier([str(url) for url in urls])


class AppriseNotifier(Notifier):
    """Sends notifications to services with Apprise.

    User text is shown verbatim: it cannot mention users, or create links, markup or headers. If only some services
    accept a notification, a retry in the same process sends it only to the others.

    Args:
        urls: a URL for each service. They have secrets, so they never appear in errors, logs or the ``repr``.

    Raises:
        ConfigurationError: Apprise does not know a URL.
        MissingExtra: Apprise is not installed.
    """

    def __init__(self, urls: str | Sequence[str]) -> None:
        try:
            import apprise  # noqa: PLC0415 - only this channel needs it
        except ModuleNotFoundError as error:
            raise missing("An Apprise channel", "apprise", "notify") from error

        self._apprise = apprise
        self._asset = apprise.AppriseAsset(
            app_id="Harken", app_desc="Harken", storage_mode="memory", service_timeout=_TIMEOUT_SECONDS
        )
        self._urls = as_texts(urls)
        self._accepted: OrderedDict[str, frozenset[int]] = OrderedDict()
        self._lock = ForkSafeLock()
        _install_filter()
        with _collecting(), warnings.catch_warnings():
            # Mail plugins import a deprecated module if it exists.
            warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
            for number, url in enumerate(self._urls, start=1):
                if self._service(url) is None:
                    raise ConfigurationError(
                        f"Apprise does not support URL {number} of the channel ({_mask(url)}); "
                        "see https://github.com/caronc/apprise for the URLs and the packages that some need"
                    )

    def deliver(self, notification: Notification) -> None:
        """Send the notification to each service that has not accepted it yet."""
        before = self._accepted.get(notification.id, frozenset())
        remaining = [number for number in range(len(self._urls)) if number not in before]
        with _collecting() as reasons:
            try:
                accepted = self._send(notification, remaining)
            except Exception as error:  # noqa: BLE001 - plugins raise any error, which may contain a URL
                name = type(error).__name__
                raise DeliveryFailed(f"Apprise failed: {name}", status=name) from None
        failed = [number for number in remaining if number not in accepted]
        self._remember(notification.id, before | accepted if failed else frozenset())
        if failed:
            statuses = _statuses(reasons)
            status = ", ".join(statuses) if statuses else "not sent"
            raise DeliveryFailed(self._describe_failure(failed, statuses), status=status)

    def _send(self, notification: Notification, numbers: Sequence[int]) -> frozenset[int]:
        """Send the notification to these services. Returns those that accepted it."""
        # Created for each notification, as services have state and are not thread-safe.
        services = {number: self._service(self._urls[number]) for number in numbers}
        accepted: set[int] = set()
        for escaping in (False, True):
            group = {number: one for number, one in services.items() if self._renders_markdown(one) is escaping}
            if group:
                accepted |= self._send_to(group, notification, escaping=escaping)
        return frozenset(accepted)

    def _send_to(self, services: Mapping[int, Any], notification: Notification, *, escaping: bool) -> set[int]:
        title, body = _title_and_body(notification)
        sender = self._apprise.Apprise(list(services.values()), asset=self._asset)
        result = sender.notify(
            title=_escape(title) if escaping else title,
            body=_escape(body) if escaping else body,
            notify_type=_severity(notification),
            body_format=self._apprise.NotifyFormat.TEXT,
        )
        return {number for number, one in zip(services, result.results, strict=False) if one}

    def _service(self, url: str) -> Any:
        """The service of a URL, without retries and rate limits, and with long texts split."""
        service = self._apprise.Apprise.instantiate(url, asset=self._asset)
        if service is None:
            return None
        service.request_rate_per_sec = 0
        service.socket_connect_timeout = min(service.socket_connect_timeout, _TIMEOUT_SECONDS)
        service.socket_read_timeout = min(service.socket_read_timeout, _TIMEOUT_SECONDS)
        service.retry = 0
        service.optional = False
        if service.overflow_mode is self._apprise.OverflowMode.UPSTREAM:
            service.overflow_mode = self._apprise.OverflowMode.SPLIT
        return service

    def _renders_markdown(self, service: Any) -> bool:
        plain = service.resolve_format(self._apprise.NotifyFormat.TEXT) is self._apprise.NotifyFormat.TEXT
        return plain and not _RENDER_MARKDOWN.isdisjoint(service.schemas())

    def _remember(self, notification_id: str, accepted: frozenset[int]) -> None:
        with self._lock:
            self._accepted.pop(notification_id, None)
            if accepted:
                self._accepted[notification_id] = accepted
            if len(self._accepted) > _MAX_REMEMBERED:
                self._accepted.popitem(last=False)

    def _describe_failure(self, failed: Sequence[int], statuses: Sequence[str]) -> str:
        which = ", ".join(f"URL {number + 1} ({_mask(self._urls[number])})" for number in failed)
        reason = f"status {', '.join(statuses)}" if statuses else "unreachable, too slow or rejected"
        return f"Apprise could not send to {which}: {reason}"


def _statuses(reasons: Sequence[str]) -> list[str]:
    """The status codes that Apprise has logged; it reports nothing else of an answer, except in texts with URLs."""
    return sorted({match[1] for reason in reasons if (match := _STATUS.search(reason))})


def _title_and_body(notification: Notification) -> tuple[str, str]:
    """The title and the body, without mentions."""
    text = (notification.text or "").strip()
    lines = lines_of(text) if text else paragraphs(notification)
    # The headline of feedback only repeats the details. That of other events is needed.
    body = lines if text or notification.feedback is None else lines[2:]
    title = " ".join(_MARKUP.sub(" ", headline(notification)).split())[:_MAX_TITLE]
    return _break_mentions(title), _break_mentions("\n".join(body))


def _break_mentions(text: str) -> str:
    return _MENTION.sub(lambda found: f"{found[0]}{_BREAK}", text)


def _escape(text: str) -> str:
    """The text as Markdown that renders it verbatim."""
    return _MARKDOWN.sub(r"\\\1", text)


def _severity(notification: Notification) -> str:
    """The notification type of Apprise. Some services close an incident at ``success``."""
    if notification.type is EventType.ALERT_RESOLVED:
        return "success"
    if notification.type is EventType.ALERT_RAISED:
        return "failure"
    return "warning" if worrying(notification) else "info"


def _mask(url: str) -> str:
    """The URL without its secrets."""
    found = _SCHEMA.match(url)
    return f"{found[1].lower()}://..." if found else "without ://"


# --- log messages: Apprise logs URLs and bodies, and urllib3 logs paths -----------------------------------------------


class _Quiet(logging.Filter):
    """Collects log messages during a delivery, instead of logging them."""

    def filter(self, record: logging.LogRecord) -> bool:
        reasons = _reasons.get()
        if reasons is None:
            return True
        if record.levelno >= logging.WARNING:
            reasons.append(one_line(record.getMessage()))
        return False


_QUIET: Final = _Quiet()


def _install_filter() -> None:
    for name in ("apprise", "urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_QUIET)


@contextmanager
def _collecting() -> Iterator[list[str]]:
    """Collect the warnings of Apprise in this thread and the threads it starts, instead of logging them."""
    reasons: list[str] = []
    token = _reasons.set(reasons)
    try:
        yield reasons
    finally:
        _reasons.reset(token)
