"""Client addresses and their digests."""

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.errors import ConfigurationError
from harken_adapters.hosts.http.guards.addresses import (
    AddressHasher,
    client_address,
    is_loopback,
    rate_key,
    trusted_networks,
)
from support import NOON, ManualClock, in_threads

PROXIES = trusted_networks(["10.0.0.0/8", "fd00::/8"])
PROXY = "10.0.0.1"
NOBODY = IPv4Network("0.0.0.0/32")

outside = st.ip_addresses(v=4, network="192.0.2.0/24") | st.ip_addresses(v=6, network="2001:db8::/32")
inside = st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=6, network="fd00::/8")
addresses = outside.map(str)
proxies = inside.map(str)
garbage = st.sampled_from(["unknown", "_hidden", "1.2.3", "1.2.3.4.5", "[::1", "::1]:80", "example.com", "1.2.3.4:x"])
claims = st.lists(addresses | proxies | garbage, max_size=4)


def spelled(address: str, port: int | None, zone: str) -> str:
    """The address as proxies write it, with a port or a zone."""
    six = ":" in address
    text = f"{address}%{zone}" if six and zone else address
    if port is None:
        return text
    return f"[{text}]:{port}" if six else f"{text}:{port}"


class TestClientAddress:
    @pytest.mark.parametrize(
        ("peer", "forwarded_for", "client"),
        [
            ("192.0.2.1", [], "192.0.2.1"),
            ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
            (PROXY, [], PROXY),
            (PROXY, ["203.0.113.9"], "203.0.113.9"),
            (PROXY, ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            (PROXY, ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
            (PROXY, ["203.0.113.9, 10.1.1.1", "fd00::5"], "203.0.113.9"),
            (PROXY, ["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (PROXY, ["203.0.113.9, unknown, 10.1.1.1"], "10.1.1.1"),
            (PROXY, ["203.0.113.9, unknown"], PROXY),
            (PROXY, [" , ,203.0.113.9 ,, "], "203.0.113.9"),
            (PROXY, ["", " "], PROXY),
            (PROXY, ["203.0.113.9:5678"], "203.0.113.9"),
            (PROXY, ["[2001:DB8::9]:80"], "2001:db8::9"),
            (PROXY, ["[2001:db8::9]"], "2001:db8::9"),
            (PROXY, ["[192.0.2.1]"], PROXY),
            (PROXY, ["fe80::1%eth0"], "fe80::1"),
            (PROXY, ["::ffff:203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
            ("[fd00::1%eth0]:443", ["203.0.113.9"], "203.0.113.9"),
            (None, ["203.0.113.9"], None),
            ("", ["203.0.113.9"], None),
            ("testclient", ["203.0.113.9"], None),
        ],
    )
    def test_is_the_last_untrusted_address(
        self, peer: str | None, forwarded_for: Sequence[str], client: str | None
    ) -> None:
        """The list is read from its end, as long as the writers of its entries are trusted proxies."""
        assert client_address(peer, forwarded_for, PROXIES) == client

    @given(addresses, claims, claims)
    def test_cannot_be_forged(self, client: str, first: list[str], second: list[str]) -> None:
        """A forged header has no effect, as the proxy appends the real address."""
        assert client_address(client, [", ".join(first)], PROXIES) == client
        assert client_address(PROXY, [", ".join(first), ", ".join([*second, client])], PROXIES) == client

    @given(addresses, claims, st.lists(proxies, max_size=3), st.data())
    def test_the_number_of_proxies_makes_no_difference(
        self, client: str, claimed: list[str], between: list[str], data: st.DataObject
    ) -> None:
        """With any number of trusted proxies, in one header or several, the client is the one before the first
        proxy.
        """
        parts = [*claimed, client, *between]
        cut = data.draw(st.integers(0, len(parts)))
        assert client_address(PROXY, [",".join(parts[:cut]), " ,\t".join(parts[cut:])], PROXIES) == client

    @given(claims, st.lists(proxies, min_size=1, max_size=3), garbage)
    def test_stops_at_an_invalid_entry(self, claimed: list[str], believed: list[str], rubbish: str) -> None:
        """An invalid entry hides all entries before it."""
        assert client_address(PROXY, [", ".join([*claimed, rubbish, *believed])], PROXIES) == believed[0]

    @given(addresses, st.none() | st.integers(0, 65_535), st.sampled_from(["", "eth0", "1"]))
    def test_ignores_ports_and_zones(self, client: str, port: int | None, zone: str) -> None:
        """Ports and zones are ignored."""
        assert client_address(PROXY, [spelled(client, port, zone)], PROXIES) == client
        assert client_address(spelled(client, port, zone), [], PROXIES) == client

    @given(st.ip_addresses(v=4))
    def test_unwraps_mapped_ipv4(self, client: IPv4Address) -> None:
        """An IPv4-mapped IPv6 address is treated as the IPv4 address."""
        assert client_address(f"::ffff:{client}", [], [NOBODY]) == client_address(str(client), [], [NOBODY])

    @given(st.none() | st.text(), st.lists(st.text()))
    def test_is_an_address_or_nothing(self, peer: str | None, forwarded_for: list[str]) -> None:
        """For any input, the result is an address in canonical form or ``None``, and no header raises an error."""
        all_networks = trusted_networks(["0.0.0.0/0", "::/0"])
        client = client_address(peer, forwarded_for, all_networks)
        assert client is None or client_address(client, [], all_networks) == client


class TestTrustedNetworks:
    @given(st.lists(st.ip_addresses(), max_size=4))
    def test_takes_single_addresses(self, given_addresses: list[IPv4Address | IPv6Address]) -> None:
        """A single address is a network with one address."""
        networks = trusted_networks(str(address) for address in given_addresses)
        assert len(networks) == len(given_addresses)
        for address, network in zip(given_addresses, networks, strict=True):
            assert client_address(str(address), ["2001:db8::7"], [network]) == "2001:db8::7"

    def test_takes_the_usual_spellings(self) -> None:
        """White space is ignored, netmasks are accepted, and IPv4-mapped networks become IPv4 networks."""
        networks = trusted_networks([" 10.0.0.0/8 ", "10.0.0.0/255.0.0.0", "::ffff:10.0.0.0/104", "FD00::/8"])
        assert networks == (*[ip_network("10.0.0.0/8")] * 3, ip_network("fd00::/8"))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "'' is not a network; expected a network such as"),
            ("localhost", "'localhost' is not a network; expected"),
            ("10.0.0.0/33", "'10.0.0.0/33' is not a network; expected"),
            ("10.1.2.3/8", "'10.1.2.3/8' is not a network, did you mean 10.0.0.0/8?"),
            ("fe80::1%eth0", "has a zone"),
        ],
    )
    def test_says_what_is_wrong(self, text: str, says: str) -> None:
        """The error repeats the invalid setting and says what was expected."""
        with pytest.raises(ConfigurationError) as caught:
            trusted_networks(["10.0.0.0/8", text])
        assert says in str(caught.value)


class TestRateKey:
    @given(st.ip_addresses(v=6, network="2001:db8::/32"), st.integers(0, 2**64 - 1))
    def test_a_customers_network_counts_as_one(self, address: IPv6Address, other: int) -> None:
        """All addresses of a /64 network share one subject, which contains only the network."""
        neighbour = IPv6Address(int(address) >> 64 << 64 | other)
        assert rate_key(str(address)) == rate_key(str(neighbour)) == str(IPv6Network((address, 64), strict=False))

    @given(st.ip_addresses(v=6, network="2001:db8::/32"), st.integers(64, 95))
    def test_other_networks_count_for_themselves(self, address: IPv6Address, bit: int) -> None:
        """Networks that differ in the first 64 bits have different subjects."""
        assert rate_key(str(address)) != rate_key(str(IPv6Address(int(address) ^ 1 << bit)))

    @given(st.ip_addresses(v=4))
    def test_ipv4_counts_by_address(self, address: IPv4Address) -> None:
        """Each IPv4 address is its own subject, in any notation."""
        assert rate_key(str(address)) == rate_key(f"::ffff:{address}") == str(address)

    @given(st.text())
    def test_takes_any_text(self, text: str) -> None:
        """A subject maps to itself, and so does any text that is not an address."""
        assert rate_key(rate_key(text)) == rate_key(text)


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("::1", True),
        ("[::1]:80", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::", False),
        ("0.0.0.0", False),
        ("::2", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_knows_this_machine(address: str | None, is_ours: bool) -> None:
    """Only loopback addresses are local; host names are not addresses."""
    assert is_loopback(address) is is_ours


class TestAddressHasher:
    @given(st.text(), st.text(), st.timedeltas(timedelta(0), timedelta(hours=12) - timedelta(microseconds=1)))
    def test_a_day_belongs_together(self, one: str, other: str, later: timedelta) -> None:
        """Within a UTC day, equal addresses have equal digests, and different addresses have different ones."""
        clock = ManualClock()
        hasher = AddressHasher(clock)
        first = hasher.hash(one)
        clock.turn(seconds=later.total_seconds())
        assert (hasher.hash(one) == first) is True
        assert (hasher.hash(other) == first) is (one == other)

    @given(st.text(), st.integers(1, 400))
    def test_two_days_do_not(self, address: str, days: int) -> None:
        """On another day, an address has another digest."""
        clock = ManualClock(NOON.replace(hour=0))
        hasher = AddressHasher(clock)
        first = hasher.hash(address)
        clock.turn(days=days)
        assert hasher.hash(address) != first

    def test_ends_at_midnight(self) -> None:
        """The salt is created on first use, and again on first use of each day."""
        clock, made = ManualClock(), count()
        hasher = AddressHasher(clock, lambda: b"salt %d" % next(made))
        digests = [hasher.hash("192.0.2.1")]
        clock.now = NOON.replace(hour=23, minute=59, second=59, microsecond=999_999)
        digests.append(hasher.hash("192.0.2.1"))
        clock.turn(microseconds=1)
        digests.append(hasher.hash("192.0.2.1"))
        assert digests[0] == digests[1] != digests[2]
        assert next(made) == 2

    @given(st.ip_addresses().map(str))
    def test_tells_nothing(self, address: str) -> None:
        """A digest has 16 digits, and cannot be computed without the salt, which another process does not have."""
        digest = AddressHasher(ManualClock()).hash(address)
        assert len(digest) == 16
        assert set(digest) <= set("0123456789abcdef")
        assert AddressHasher(ManualClock()).hash(address) != digest

    def test_takes_any_text(self) -> None:
        """Text with a lone surrogate is accepted."""
        assert AddressHasher(ManualClock()).hash("\ud800") != AddressHasher(ManualClock()).hash("")

    @pytest.mark.parametrize("days", [0, 1])
    def test_many_threads_see_one_salt(self, days: int) -> None:
        """Threads that start a new day at the same time use one salt."""
        clock = ManualClock()
        hasher = AddressHasher(clock)
        hasher.hash("before")
        clock.turn(days=days)
        assert len(set(in_threads([lambda: hasher.hash("192.0.2.1")] * 16))) == 1
