"""Which address a request comes from, and what may be kept of it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Lock
from typing import Final

from harken.domain.errors import ConfigurationError
from harken.domain.text_lists import as_texts
from harken.ports.time import Clock

#: Internet providers give each customer at least a network of this size, and all of its addresses are theirs to use.
IPV6_CUSTOMER_BITS: Final = 64
_IPV6_OTHER_BITS: Final = 128 - IPV6_CUSTOMER_BITS

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

#: Longer than any, with its brackets, port and zone.
_LONGEST_ADDRESS: Final = 80
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SALT_BYTES: Final = 32
_DIGEST_BYTES: Final = 8


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[_Network]) -> str | None:
    """Who the client is, in the usual spelling; ``None`` where that is not known.

    ``X-Forwarded-For`` is a list to which each proxy adds, at the end, whom it was called by. Anybody can send one. So
    it is read from its end, and only for as long as those who wrote it are trusted: the first one that is not is the
    client. What is no address ends the walk, and the last one before it counts.

    Args:
        peer: the other end of the connection; ``None``, or no address at all, if that is a Unix socket.
        forwarded_for: the values of all ``X-Forwarded-For`` headers, in order.
        trusted: the networks of our own proxies.
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
    """The networks that settings name, such as ``10.0.0.0/8``, ``::1`` or ``2001:db8::/32``.

    Raises:
        ConfigurationError: one is no network; the message says which, and why.
    """
    return tuple(_network(text) for text in as_texts(texts))


def rate_key(address: str) -> str:
    """Under what the requests of an address are counted: an IPv6 address under its /64, all of it one client's."""
    parsed = _address(address)
    if not isinstance(parsed, IPv6Address):
        return address if parsed is None else str(parsed)
    customer = int(parsed) >> _IPV6_OTHER_BITS << _IPV6_OTHER_BITS
    return f"{IPv6Address(customer)}/{IPV6_CUSTOMER_BITS}"


def is_loopback(address: str | None) -> bool:
    """Whether the address is this machine's own."""
    parsed = _address(address or "")
    return parsed is not None and parsed.is_loopback


class AddressHasher:
    """Makes digests by which one day's requests from one address are known to belong together, and nothing more.

    The salt is random, stays in memory, and is forgotten when the day ends in UTC: after that nobody can tell whose
    digest it was, not even by trying all addresses. Two processes give different digests. It is thread-safe.

    Args:
        clock: tells when the day ends.
        new_salt: gives 16 to 64 random bytes.
    """

    def __init__(self, clock: Clock, new_salt: Callable[[], bytes] = lambda: secrets.token_bytes(_SALT_BYTES)) -> None:
        self._clock = clock
        self._new_salt = new_salt
        self._lock = Lock()
        self._day = date.min
        self._salt = b""

    def hashed(self, address: str) -> str:
        """16 hexadecimal digits, the same for the same text until the day ends."""
        digest = blake2b(address.encode(errors="surrogatepass"), key=self._salt_of_today(), digest_size=_DIGEST_BYTES)
        return digest.hexdigest()

    def _salt_of_today(self) -> bytes:
        # The clock is read inside the lock, or a thread that was held up at midnight would bring yesterday back.
        with self._lock:
            today = self._clock().date()
            if today != self._day:
                self._day, self._salt = today, self._new_salt()
            return self._salt


def _from_the_end(values: Sequence[str]) -> Iterable[str]:
    """The parts of the list that several headers make together, the last one first; empty ones do not count."""
    parts = (part.strip() for value in reversed(values) for part in reversed(value.split(",")))
    return (part for part in parts if part)


def _is_in(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks)


def _address(text: str) -> _Address | None:
    """The address in a text, without brackets, port and zone, and IPv4 where it is IPv4 in IPv6's clothes."""
    return _parsed(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> _Address | None:
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((found["six"] or found["four"]) if found else text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return None if found and found["six"] else address
    return address.ipv4_mapped or IPv6Address(int(address))


def _network(text: str) -> _Network:
    expected = "expected a network such as 10.0.0.0/8 or 2001:db8::/32, or one address"
    try:
        network = ip_network(text.strip())
    except ValueError:
        raise ConfigurationError(f"{text!r} is no network{_hint(text)}; {expected}") from None
    if not isinstance(network, IPv6Network):
        return network
    if network.network_address.scope_id:
        raise ConfigurationError(f"{text!r} has a zone, which means nothing to other machines; {expected}")
    if not network.subnet_of(_MAPPED):
        return network
    # Addresses are compared as what they are, so networks have to be, too.
    return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - _MAPPED.prefixlen))


def _hint(text: str) -> str:
    """What was meant, if an address was given that is not the first one of its network."""
    try:
        return f", did you mean {ip_network(text.strip(), strict=False)}?"
    except ValueError:
        return ""
