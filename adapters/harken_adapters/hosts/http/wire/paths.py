"""URL routing, shared by all hosts, including 404 and 405 responses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import quote, unquote_to_bytes

from attrs import frozen

from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.hosts.http.wire.problems import malformed_path, method_not_allowed, path_not_found

#: The characters of a path that need no percent-encoding (RFC 3986).
_PLAIN: Final = "/:@!$&'()*+,;="


def encode_path(path: str) -> str:
    """Percent-encode a path."""
    return quote(path, safe=_PLAIN, errors="replace")


def encode_root(prefix: str) -> str:
    """Percent-encode the prefix of the API's paths, for links, redirects and cookies; without a trailing slash.

    The prefix may have a parameter, whose value the client chooses. Therefore the result does not begin with ``//``,
    which would lead to another host, and has no semicolon, which would end the path of a cookie.
    """
    encoded = encode_path(prefix.strip("/")).replace(";", "%3B")
    return f"/{encoded}" if encoded else ""


def is_utf8(raw: bytes) -> bool:
    """Whether a path, without percent-encoding, is UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_encoded_utf8(raw: bytes) -> bool:
    """Whether a path is percent-encoded UTF-8."""
    return is_utf8(unquote_to_bytes(raw))


def check_path(request: Request) -> None:
    """Check that the path is UTF-8. Frameworks replace other bytes, so that different paths would become equal.

    Raises:
        Problem: it is not.
    """
    if not request.utf8:
        raise malformed_path()


class Target(Protocol):
    """The target of a path: an operation or a page."""

    @property
    def path(self) -> str:
        """The path template, with parameters in braces."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The allowed HTTP methods."""


T = TypeVar("T", bound=Target)


@frozen
class _Template(Generic[T]):
    """A path template, split at its slashes, and its target."""

    segments: tuple[str, ...]
    target: T

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The path parameters, or ``None`` if the path does not match."""
        parts = {}
        for expected, segment in zip(self.segments, segments, strict=True):
            if expected.startswith("{") and segment:
                parts[expected[1:-1]] = segment
            elif expected != segment:
                return None
        return parts


class Paths(Generic[T]):
    """Finds the target of a path. If several templates match, the first one given wins."""

    def __init__(self, targets: Iterable[T]) -> None:
        self._templates: dict[int, list[_Template[T]]] = defaultdict(list)
        for target in targets:
            segments = tuple(target.path.split("/"))
            self._templates[len(segments)].append(_Template(segments, target))

    def find(self, method: str, path: str) -> tuple[T, dict[str, str]]:
        """The target of a percent-decoded path, and its path parameters.

        Raises:
            Problem: the path is unknown, or does not support the method.
        """
        matches = list(self._matches(path))
        for target, parts in matches:
            if method in target.methods:
                return target, parts
        if not matches:
            raise path_not_found()
        raise method_not_allowed(_methods(matches))

    def methods(self, path: str) -> list[str]:
        """The methods that a path supports."""
        return _methods(list(self._matches(path)))

    def _matches(self, path: str) -> Iterator[tuple[T, dict[str, str]]]:
        segments = tuple(path.split("/"))
        for template in self._templates.get(len(segments), ()):
            if (parts := template.match(segments)) is not None:
                yield template.target, parts


def _methods(matches: list[tuple[T, dict[str, str]]]) -> list[str]:
    # A template without parameters takes precedence over one with parameters.
    exact = [target for target, parts in matches if not parts] or [target for target, _ in matches]
    return [method for target in exact for method in target.methods]
