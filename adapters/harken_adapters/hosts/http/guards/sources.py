"""Where a request comes from, as far as its headers say: a page of another origin, a proxy, or this machine."""

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
#: What a browser says of a request that its user or a page of the same origin caused.
_OWN: Final = frozenset({"same-origin", "none"})
#: What proxies add. Names are compared with hyphens, as some servers take underscores for the same.
#: Clients that call directly send none of them: what browsers, curl and HTTP libraries add, such as X-Requested-With,
#: X-Request-Id, Traceparent or B3, must not be here.
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
#: nginx speaks 1.0 to what it forwards to, unless it is configured otherwise; browsers and curl never do.
_VERSIONS: Final = frozenset({"1.1", "2", "3"})


def is_foreign(header: Header, *, needs_proof: bool = False) -> bool:
    """Whether a page of another origin caused a request, as the browser says.

    ``Sec-Fetch-Site`` decides where it is sent: no page can set it, and a proxy may rewrite ``Host`` without harm.
    Otherwise ``Origin`` is compared with ``Host``. Programs other than browsers send neither.

    Args:
        header: the value of a header by its name in lower case.
        needs_proof: whether a request that has neither header counts as foreign.
    """
    site = header("sec-fetch-site")
    if site is not None:
        return site not in _OWN
    origin = header("origin")
    if origin is None:
        return needs_proof
    return not is_same_origin(origin, header("host"))


def is_same_origin(origin: str, host: str | None) -> bool:
    """Whether an ``Origin`` is that of a service that was asked for as ``host``: the same name and port.

    The scheme is not compared, as TLS may end at a proxy in front.
    """
    scheme, _, rest = origin.lower().partition("://")
    default = _DEFAULT_PORTS.get(scheme)
    theirs, ours = _authority(rest), _authority(host or "")
    if default is None or theirs is None or ours is None:
        return False
    return (theirs[0], theirs[1] or default) == (ours[0], ours[1] or default)


def why_not_local(headers: Iterable[tuple[str, str]], peer: str | None, http_version: str) -> str | None:
    """What shows that a request may not come directly from a program or page of this machine; ``None`` if nothing.

    Args:
        headers: all of them, with names in lower case.
        peer: the address that the connection comes from.
        http_version: such as ``1.1``.
    """
    sent = [(name.replace("_", "-"), value.strip()) for name, value in headers]
    hosts, origins, sites = ([value for name, value in sent if name == one] for one in _DECIDING)
    host = hosts[0] if len(hosts) == 1 else ""
    forwarded = next((name for name, _ in sent if name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES)), None)
    reasons = (
        (forwarded, f"a proxy forwarded it, as the header {forwarded!r} shows"),
        (not is_loopback(peer), "it comes from another machine"),
        (not _is_loopback_host(host), "its Host is not localhost or a loopback address"),
        (not all(is_same_origin(origin, host) for origin in origins), "its Origin is that of another service"),
        (not _OWN.issuperset(sites), "a page of another origin caused it"),
        (http_version not in _VERSIONS, f"it uses HTTP/{http_version}, as proxies do"),
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
    # IPv6 stands in brackets and IPv4 does not; anything else is a name that some resolver might lead elsewhere.
    return address.is_loopback and (address.version == 6) == name.startswith("[")


def _authority(text: str) -> tuple[str, int | None] | None:
    """The name and port of a ``Host``, compared as a whole; ``None`` if it is anything but a name and a port."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    if found["port"] is None:
        return found["name"], None
    port = int(found["port"])
    return (found["name"], port) if 1 <= port <= _LAST_PORT else None
