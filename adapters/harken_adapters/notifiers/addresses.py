"""Protection against server-side request forgery: only public and explicitly allowed addresses are connected to.

The URL of a webhook must not give access to hosts that only this machine can reach. So a name is resolved once, each
address is checked, and the connection is made to a checked address.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from harken.domain.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: Resolves a host and port to its addresses, as texts. Raises ``OSError`` if there are none.
LookUp = Callable[[str, int], Sequence[str]]

_LOCAL_NAMES: Final = ("localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback")
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")

#: The IPv6 addresses of the internet; all others are local, reserved or translated.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
#: IPv6 networks with an IPv4 address in the last four bytes.
_EMBEDDING: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
#: Addresses that are not public, but that some versions of Python consider global.
_UNSAFE: Final = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; 192.0.0.192 is the metadata service of a cloud
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("168.63.129.16/32"),  # the metadata service of another cloud
    IPv6Network("2001::/23"),  # Teredo and other protocols
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, which embeds an IPv4 address
    IPv6Network("3fff::/20"),  # documentation
)


class UnsafeAddress(Exception):
    """A host has an address that is neither public nor allowed. The message says which."""


class Guard:
    """Resolves hosts, and checks that their addresses may be connected to. Thread-safe.

    Args:
        allow: host names, addresses and networks that are allowed although they are not public.
        look_up: resolves a host.

    Raises:
        ConfigurationError: an entry of ``allow`` is invalid.
    """

    def __init__(self, allow: Iterable[str], look_up: LookUp) -> None:
        entries = {entry: _parse_network(entry) for entry in allow}
        self._networks = [network for network in entries.values() if network is not None]
        self._names = frozenset(_parse_name(entry) for entry, network in entries.items() if network is None)
        self._look_up = look_up

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host.

        Raises:
            UnsafeAddress: an address is neither public nor allowed.
            OSError: the host cannot be resolved.
        """
        if _normalize_name(host) in self._names:
            return self._found(host, port)
        self.check_name(host)
        found = self._found(host, port)
        for text in found:
            self._check(host, ip_address(text))
        return found

    def check_name(self, host: str) -> None:
        """Raise ``UnsafeAddress`` if the host is unsafe by its name, or is an unsafe address in any notation."""
        if _normalize_name(host) in self._names:
            return
        if _normalize_name(host) in _LOCAL_NAMES or _normalize_name(host).endswith(".localhost"):
            raise UnsafeAddress(f"{host} is the local machine")
        if (address := parse_address(host)) is not None:
            self._check(host, address)

    def _found(self, host: str, port: int) -> list[str]:
        found = list(self._look_up(host, port))
        if not found:
            raise OSError("the host has no address")
        return found

    def _check(self, host: str, address: Address) -> None:
        if is_public(address) or any(_normalize(address) in network for network in self._networks):
            return
        resolved = "" if str(address) == host else f" ({address})"
        raise UnsafeAddress(f"{host}{resolved} is not a public address")


def is_public(address: Address) -> bool:
    """Whether the address is reachable on the internet."""
    embedded = _embedded_ipv4(address)
    if embedded is not None:
        return is_public(embedded)
    if any(address in network for network in _UNSAFE):
        return False
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def parse_address(host: str) -> Address | None:
    """The address that a host name represents, in any notation of the system: ``127.1``, ``0x7f000001``, ..."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None


def look_up(host: str, port: int) -> list[str]:
    """Resolve a host with the resolver of the system."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("the name cannot be resolved") from error
    return [str(place[0]) for *_, place in found]


def _normalize_name(host: str) -> str:
    return host.lower().rstrip(".")


def _embedded_ipv4(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _normalize(address: Address) -> Address:
    """The address for a comparison with networks: IPv4-mapped ones as IPv4, without a zone."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _parse_network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError:
        return None


def _parse_name(entry: str) -> str:
    name = _normalize_name(entry)
    if _NAME.fullmatch(name) and parse_address(name) is None:
        return name
    raise ConfigurationError(
        f"{entry!r} cannot be allowed; expected a host name such as hooks.internal, an address such as "
        "10.1.2.3, or a network such as 10.0.0.0/8"
    )
