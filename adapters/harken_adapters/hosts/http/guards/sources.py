"""The source of a request, according to its headers: another origin, a proxy, or the local machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

from harken_adapters.hosts.http.guards.addresses import is_loopback

Header = Callable[[str], str | None]

_AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LAST_PORT: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: The values of Sec-Fetch-Site for requests of the user or of a page of the same origin.
_OWN: Final = frozenset({"same-origin", "none"})
#: Headers that proxies add. Underscores in names are compared as hyphens, as some servers do.
#: Headers that browsers, curl and HTTP libraries send, such as X-Requested-With, X-Request-Id, Traceparent or B3, must
#: not be listed.
_FORWARDED: Final = frozenset(
    {
        "cdn-loop",
        "client-ip",
        "front-end-https",
        "max-forwards",
        "proxy-connection",
        "surrogate-capability",
        "true-client-ip",
        "via",
        "x-backend-server",
        "x-client-cert",
        "x-client-ip",
        "x-client-verify",
        "x-cloud-trace-context",
        "x-cluster-client-ip",
        "x-coming-from",
        "x-host",
        "x-https",
        "x-originating-ip",
        "x-queue-start",
        "x-real-ip",
        "x-real-port",
        "x-remote-addr",
        "x-remote-ip",
        "x-remote-user",
        "x-request-start",
        "x-scheme",
        "x-true-client-ip",
        "x-url-scheme",
        "x-varnish",
    }
)
_FORWARDED_PREFIXES: Final = (
    "akamai-",
    "cdn-",
    "cf-",
    "cloudfront-",
    "do-connecting-",
    "fastly-",
    "fly-",
    "forwarded",
    "incap-",
    "ngrok-",
    "remote-",
    "ssl-",
    "tailscale-",
    "wl-proxy-",
    "x-accel-",
    "x-akamai-",
    "x-amz-cf-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-cdn-",
    "x-envoy-",
    "x-fastly-",
    "x-forward",
    "x-goog-iap-",
    "x-haproxy-",
    "x-nginx-",
    "x-original-",
    "x-proxy",
    "x-real-",
    "x-sendfile",
    "x-ssl-",
    "x-vercel-",
)
_DECIDING: Final = ("host", "origin", "sec-fetch-site")
#: By default, nginx uses HTTP/1.0 for forwarded requests; browsers and curl never do.
_VERSIONS: Final = frozenset({"1.1", "2", "3"})


def is_foreign(header: Header, *, needs_proof: bool = False) -> bool:
    """Whether a page of another origin caused a request, according to the browser.

    ``Sec-Fetch-Site`` takes precedence: pages cannot set it, and it is valid even if a proxy rewrites ``Host``.
    Without it, ``Origin`` is compared with ``Host``. Programs other than browsers send neither.

    Args:
        header: returns the value of a header by its lower-case name.
        needs_proof: whether a request without either header counts as foreign.
    """
    site = header("sec-fetch-site")
    if site is not None:
        return site not in _OWN
    origin = header("origin")
    if origin is None:
        return needs_proof
    return not is_same_origin(origin, header("host"))


def is_same_origin(origin: str, host: str | None) -> bool:
    """Whether an ``Origin`` and a ``Host`` have the same name and port.

    The scheme is not compared, as a proxy may terminate TLS.
    """
    scheme, _, rest = origin.lower().partition("://")
    default = _DEFAULT_PORTS.get(scheme)
    theirs, ours = _authority(rest), _authority(host or "")
    if default is None or theirs is None or ours is None:
        return False
    return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)


def why_not_local(headers: Iterable[tuple[str, str]], peer: str | None, http_version: str) -> str | None:
    """Why a request may not come directly from a program or page on the local machine; ``None`` if it seems to.

    Args:
        headers: all headers, with names in lower case.
        peer: the address of the other end of the connection.
        http_version: the HTTP version, such as ``1.1``.
    """
    sent = [(name.replace("_", "-"), value.strip()) for name, value in headers]
    hosts, origins, sites = ([value for name, value in sent if name == one] for one in _DECIDING)
    host = hosts[0] if len(hosts) == 1 else ""
    forwarded = next((name for name, _ in sent if name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES)), None)
    reasons = (
        (forwarded, f"it was forwarded by a proxy (header {forwarded!r})"),
        (not is_loopback(peer), "it comes from another machine"),
        (not _is_loopback_host(host), "its Host is not localhost or a loopback address"),
        (not all(is_same_origin(origin, host) for origin in origins), "its Origin is not that of this service"),
        (not _OWN.issuperset(sites), "a page of another origin sent it"),
        (http_version not in _VERSIONS, f"it uses HTTP/{http_version}, like a proxy"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _is_loopback_host(host: str) -> bool:
    found = _authority(host)
    if found is None:
        return False
    name = found[0]
    if name == "localhost":
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    # IPv6 addresses have brackets, IPv4 addresses do not. Anything else is a name that might resolve elsewhere.
    return address.is_loopback and (address.version == 6) == name.startswith("[")


def _authority(text: str) -> tuple[str, int | None] | None:
    """Parse the name and port of a ``Host``, in lower case; ``None`` if it is malformed."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    if found["port"] is None:
        return found["name"], None
    port = int(found["port"])
    return (found["name"], port) if 1 <= port <= _LAST_PORT else None
