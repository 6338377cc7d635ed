"""Client addresses: reading X-Forwarded-For, rate limit subjects, and daily digests."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from harken.domain.errors import ConfigurationError
from harken.domain.texts import as_texts
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock

#: Internet providers assign each customer at least a network of this size, with all of its addresses.
IPV6_CUSTOMER_BITS: Final = 64
_IPV6_OTHER_BITS: Final = 128 - IPV6_CUSTOMER_BITS

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

#: Longer than any address with brackets, port and zone.
_LONGEST_ADDRESS: Final = 80
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SALT_BYTES: Final = 32
_DIGEST_BYTES: Final = 8


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[_Network]) -> str | None:
    """The address of the client, in canonical form; ``None`` if it is not known.

    ``X-Forwarded-For`` is a list to which each proxy appends the address of its client. As any client can send the
    header, it is read from the end, and only while the writer of an entry is trusted: the first address that is not
    trusted is the client. Reading stops at an invalid address, and the last valid one counts.

    Args:
        peer: the address of the other end of the connection; ``None`` or not an address for a Unix socket.
        forwarded_for: the values of all ``X-Forwarded-For`` headers, in order.
        trusted: the networks of trusted proxies.
    """
    client = _address(peer or "")
    if client is None:
        return None
    for text in _from_the_end(forwarded_for):
        if not _is_in(client, trusted):
            break
        before = _address(text)
        if before is None:
            break
        client = before
    return str(client)


def trusted_networks(texts: str | Iterable[str]) -> tuple[_Network, ...]:
    """Parse networks from settings, such as ``10.0.0.0/8``, ``::1`` or ``2001:db8::/32``.

    Raises:
        ConfigurationError: a text is not a valid network.
    """
    return tuple(_parse_network(text) for text in as_texts(texts))


def rate_key(address: str) -> str:
    """The rate limit subject of an address: an IPv4 address, or the /64 network of an IPv6 address."""
    parsed = _address(address)
    if not isinstance(parsed, IPv6Address):
        return address if parsed is None else str(parsed)
    customer = int(parsed) >> _IPV6_OTHER_BITS << _IPV6_OTHER_BITS
    return f"{IPv6Address(customer)}/{IPV6_CUSTOMER_BITS}"


def is_loopback(address: str | None) -> bool:
    """Whether the address is a loopback address."""
    parsed = _address(address or "")
    return parsed is not None and parsed.is_loopback


class AddressHasher:
    """Hashes client addresses, so that requests from one address on one UTC day can be linked, but not identified.

    The salt is random, is kept in memory only, and is replaced when the UTC day ends. After that, an address cannot be
    recovered even by hashing all addresses. Each process has its own salt. It is thread-safe.

    Args:
        clock: returns the current time in UTC.
        new_salt: returns 16 to 64 random bytes.
    """

    def __init__(self, clock: Clock, new_salt: Callable[[], bytes] = lambda: secrets.token_bytes(_SALT_BYTES)) -> None:
        self._clock = clock
        self._new_salt = new_salt
        self._lock = ForkSafeLock()
        self._day = date.min
        self._salt = b""

    def hash(self, address: str) -> str:
        """A digest of 16 hexadecimal digits, which is stable until the UTC day ends."""
        digest = blake2b(address.encode(errors="surrogatepass"), key=self._salt_of_today(), digest_size=_DIGEST_BYTES)
        return digest.hexdigest()

    def _salt_of_today(self) -> bytes:
        # The clock is read inside the lock, so that a thread delayed at midnight does not restore the previous day.
        with self._lock:
            today = self._clock().date()
            if today != self._day:
                self._day, self._salt = today, self._new_salt()
            return self._salt


def _from_the_end(values: Sequence[str]) -> Iterable[str]:
    """The entries of the combined list of several headers, last entry first, without empty ones."""
    parts = (part.strip() for value in reversed(values) for part in reversed(value.split(",")))
    return (part for part in parts if part)


def _is_in(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks)


def _address(text: str) -> _Address | None:
    """Parse an address, ignoring brackets, port and zone. An IPv4-mapped IPv6 address becomes an IPv4 address."""
    return _parse_address(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> _Address | None:
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((found["six"] or found["four"]) if found else text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return None if found and found["six"] else address
    return address.ipv4_mapped or IPv6Address(int(address))


def _parse_network(text: str) -> _Network:
    expected = "expected a network such as 10.0.0.0/8 or 2001:db8::/32, or an address"
    try:
        network = ip_network(text.strip())
    except ValueError:
        raise ConfigurationError(f"{text!r} is not a network{_hint(text)}; {expected}") from None
    if not isinstance(network, IPv6Network):
        return network
    if network.network_address.scope_id:
        raise ConfigurationError(f"{text!r} has a zone, which is only valid on one machine; {expected}")
    if not network.subnet_of(_MAPPED):
        return network
    # Mapped addresses are compared as IPv4 addresses, so mapped networks must be IPv4 networks too.
    return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - _MAPPED.prefixlen))


def _hint(text: str) -> str:
    """A suggestion for a network that is given by an address other than its first one."""
    try:
        return f", did you mean {ip_network(text.strip(), strict=False)}?"
    except ValueError:
        return ""
