"""Which addresses may be connected to: public ones, and those that somebody has allowed.

A URL is often given by somebody who may not do everything that this machine may: it must not lead to what only this
machine can reach. So names are looked up once, every address is checked, and only what was checked is connected to.
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
#: Looks a host up: the texts of all its addresses. It raises ``OSError`` if there are none.
LookUp = Callable[[str, int], Sequence[str]]

_LOCAL_NAMES: Final = ("localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback")
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")

#: IPv6 addresses that are in use on the internet; all others are local, reserved or translated.
_IN_USE: Final = IPv6Network("2000::/3")
#: An IPv4 address in IPv6's clothes: in its last four bytes, whatever the machine makes of it.
_EMBEDDING: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
#: What Python, or some version of it, takes for public.
_UNSAFE: Final = (
    IPv4Network("192.0.0.0/24"),  # kept for protocols; one cloud tells its secrets at 192.0.0.192
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("168.63.129.16/32"),  # what another cloud tells its machines
    IPv6Network("2001::/23"),  # Teredo and other protocols
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, which has an IPv4 address in it
    IPv6Network("3fff::/20"),  # documentation
)


class UnsafeAddress(Exception):
    """A host leads to an address that is neither public nor allowed; the message says which."""


class Guard:
    """Tells where a host leads to, if one may connect there. Several threads may use it at once.

    Args:
        allow: names of hosts, addresses and networks that may be connected to although they are not public.
        look_up: finds the addresses of a host.

    Raises:
        ConfigurationError: one of ``allow`` is none of these.
    """

    def __init__(self, allow: Iterable[str], look_up: LookUp) -> None:
        entries = {entry: _network(entry) for entry in allow}
        self._networks = [network for network in entries.values() if network is not None]
        self._names = frozenset(_allowed_name(entry) for entry, network in entries.items() if network is None)
        self._look_up = look_up

    def addresses(self, host: str, port: int) -> list[str]:
        """All addresses of a host.

        Raises:
            UnsafeAddress: one of them is neither public nor allowed.
            OSError: they cannot be found.
        """
        if _plain(host) in self._names:
            return self._found(host, port)
        self.check_name(host)
        found = self._found(host, port)
        for text in found:
            self._check(host, ip_address(text))
        return found

    def check_name(self, host: str) -> None:
        """Raise ``UnsafeAddress`` if the name of a host alone tells that it is unsafe, however that is spelt."""
        if _plain(host) in self._names:
            return
        if _plain(host) in _LOCAL_NAMES or _plain(host).endswith(".localhost"):
            raise UnsafeAddress(f"{host} is this machine itself")
        if (address := spelt_out(host)) is not None:
            self._check(host, address)

    def _found(self, host: str, port: int) -> list[str]:
        found = list(self._look_up(host, port))
        if not found:
            raise OSError("it has no address")
        return found

    def _check(self, host: str, address: Address) -> None:
        if is_public(address) or any(_unwrapped(address) in network for network in self._networks):
            return
        leads = "" if str(address) == host else f"leads to {address}, which "
        raise UnsafeAddress(f"{host} {leads}is no public address")


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could connect to the address as well, and get to the same machine."""
    embedded = _embedded(address)
    if embedded is not None:
        return is_public(embedded)
    if any(address in network for network in _UNSAFE):
        return False
    if isinstance(address, IPv6Address) and address not in _IN_USE:
        return False
    return address.is_global and not address.is_multicast


def spelt_out(host: str) -> Address | None:
    """The address that a host is, in any spelling that a system's library takes: ``127.1``, ``0x7f000001``, ..."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None


def look_up(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("its name cannot be looked up") from error
    return [str(place[0]) for *_, place in found]


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


def _embedded(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _unwrapped(address: Address) -> Address:
    """The address as networks are written: IPv4 where it is only written as IPv6, and without a zone."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError:
        return None


def _allowed_name(entry: str) -> str:
    name = _plain(entry)
    if _NAME.fullmatch(name) and spelt_out(name) is None:
        return name
    raise ConfigurationError(
        f"{entry!r} cannot be allowed; expected the name of a host such as hooks.internal, an address such as "
        "10.1.2.3, or a network such as 10.0.0.0/8"
    )
