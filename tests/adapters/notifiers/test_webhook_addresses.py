"""Webhooks are never sent to addresses that are not public, in any notation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notifiers.receiver import SECRET, Receiver, a_notification, connecting, receiving
from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken_adapters.notifiers.webhook import WebhookNotifier, open_notifier

PUBLIC = "93.184.216.34"
#: In the notation of URLs.
UNSAFE_HOSTS = (
    # the local machine
    "localhost", "LOCALHOST", "localhost.", "hooks.localhost", "localhost.localdomain", "ip6-localhost",
    "127.0.0.1", "127.0.0.1.", "127.8.9.10", "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F.0x0.0.1",
    "017700000001", "0177.1", "127\u30020\u30020\u30021", "[::1]", "[0:0:0:0:0:0:0:1]", "0", "0.0.0.0", "[::]",
    # embedded in IPv6
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::10.0.0.1]", "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]", "[2002:a00:1::1]", "[2001:0:7f00:1::1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    # private networks
    "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "0xa.0.0.1", "3232235777", "100.64.0.1",
    "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[fe80::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]",
    # metadata services of clouds
    "169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "100.100.100.200", "192.0.0.192", "168.63.129.16",
    # multicast, reserved and documentation addresses
    "224.0.0.1", "239.255.255.255", "[ff02::1]", "[ff0e::1]", "255.255.255.255", "240.0.0.1", "0.1.2.3",
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "192.88.99.1",
    "[2001:db8::1]", "[3fff::1]", "[100::1]", "[5f00::1]", "[4000::1]",
)  # fmt: skip
#: As returned by a name server.
UNSAFE_ADDRESSES = (
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "fc00::1", "fec0::1", "fe80::1", "fe80::1%lo", "169.254.169.254", "192.0.0.192", "168.63.129.16", "224.0.0.1",
    "ff02::1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "2001:db8::1", "5f00::1",
)  # fmt: skip


class Names:
    """A name server that returns these answers in turn, and then the last one again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the next answer; without an address the name is unknown."""
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not answer:
            raise OSError("Name or service not known")
        return answer


@pytest.fixture(scope="module")
def receivers() -> Iterator[list[Receiver]]:
    """Receivers on the loopback addresses."""
    with ExitStack() as stack:
        listening = [stack.enter_context(receiving(host="127.0.0.1"))]
        # Not every machine has IPv6.
        with suppress(OSError):
            listening.append(stack.enter_context(receiving(host="::1")))
        yield listening


def a_notifier(url: str, names: Names, *allow: str) -> closing[WebhookNotifier]:
    """A channel with this name server."""
    return closing(WebhookNotifier(url, [SECRET], allow=allow, limit=5.0, look_up=names))


def failure(url: str, names: Names) -> DeliveryFailed:
    """The error of a delivery with this name server."""
    with a_notifier(url, names) as notifier, pytest.raises(DeliveryFailed) as failed:
        notifier.deliver(a_notification())
    return failed.value


@pytest.mark.parametrize("host", UNSAFE_HOSTS)
def test_an_unsafe_url_is_refused_when_configured(host: str, receivers: list[Receiver]) -> None:
    """A URL with an unsafe address in any notation is refused, and no connection is made."""
    with connecting() as connected:
        for receiver in receivers:
            with pytest.raises(ConfigurationError, match=r"public address|is invalid"):
                open_notifier({"url": f"http://{host}:{receiver.port}/hook", "secret": SECRET})
    assert connected == []
    assert not any(receiver.connections for receiver in receivers)


@pytest.mark.parametrize("address", UNSAFE_ADDRESSES)
def test_a_name_with_an_unsafe_address_is_refused_when_configured(address: str) -> None:
    """One unsafe address among several is enough."""
    with connecting() as connected:
        for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
            with pytest.raises(ConfigurationError, match="public address"):
                WebhookNotifier("https://hooks.test/", [SECRET], look_up=Names(answer))
    assert connected == []


@pytest.mark.parametrize("address", UNSAFE_ADDRESSES)
@pytest.mark.parametrize("before", [[PUBLIC], []], ids=["public", "unknown"])
def test_a_name_that_changes_is_refused_when_sending(
    address: str, before: list[str], receivers: list[Receiver]
) -> None:
    """A name that resolves to an unsafe address later is not connected to.

    One unsafe address among several is enough. The delivery is retried, as the name may change back.
    """
    with connecting() as connected:
        for receiver in receivers:
            for answer in ([address], [PUBLIC, address]):
                failed = failure(f"http://hooks.test:{receiver.port}/", Names(before, answer))
                assert failed.retryable
                assert "not a public address" in str(failed)
    assert connected == []
    assert not any(receiver.connections for receiver in receivers)


def test_the_checked_address_is_connected_to() -> None:
    """A name is resolved once per connection, so the answer cannot change between the check and the connection."""
    names = Names(["127.0.0.1"], ["127.0.0.1"], ["10.0.0.1"])
    with (
        receiving() as receiver,
        connecting() as connected,
        a_notifier(f"http://hooks.test:{receiver.port}/hook", names, "127.0.0.1") as notifier,
    ):
        notifier.deliver(a_notification())
    assert connected == [("127.0.0.1", receiver.port)]
    assert names.asked == ["hooks.test", "hooks.test"]


def test_an_unknown_name_is_retried() -> None:
    """A channel with an unknown name can be opened; its deliveries fail and are retried."""
    with connecting() as connected:
        failed = failure("https://hooks.test/", Names([]))
    assert failed.retryable
    assert "cannot be resolved" in str(failed)
    assert connected == []


def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    """Several addresses are tried in order, within the limit."""
    # No server listens on 127.0.0.2.
    names = Names(["127.0.0.2", "127.0.0.1"])
    with (
        receiving() as receiver,
        connecting() as connected,
        a_notifier(f"http://hooks.test:{receiver.port}/", names, "127.0.0.0/8") as notifier,
    ):
        notifier.deliver(a_notification())
    assert connected == [("127.0.0.2", receiver.port), ("127.0.0.1", receiver.port)]
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("[::ffff:127.0.0.1]", "127.0.0.0/8"),
        ("localhost", "localhost"),
        ("LocalHost", "LOCALHOST."),
        ("127.0.0.1", "0.0.0.0/0"),
    ],
)
def test_allowed_hosts(host: str, allow: str) -> None:
    """A local receiver can be allowed by its name, address or network."""
    with receiving() as receiver:
        table = {"url": f"http://{host}:{receiver.port}/hook", "secret": SECRET, "allow": [allow]}
        with closing(open_notifier(table)) as notifier:
            notifier.deliver(a_notification())
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "10.0.0.0/8"),
        ("127.0.0.1", "localhost"),
        ("localhost", "host"),
        ("sub.localhost", "localhost"),
        ("[::1]", "127.0.0.0/8"),
        ("[64:ff9b::7f00:1]", "127.0.0.0/8"),
    ],
)
def test_an_entry_allows_nothing_else(host: str, allow: str) -> None:
    """An entry of the allow-list allows only the host, address or network that it names."""
    with pytest.raises(ConfigurationError, match=r"local machine|public address"):
        open_notifier({"url": f"http://{host}/hook", "secret": SECRET, "allow": [allow]})


@pytest.mark.parametrize(
    "host", ["93.184.216.34", "1.1.1.1", "134744072", "[2606:4700::1111]", "[64:ff9b::808:808]", "[::ffff:8.8.8.8]"]
)
def test_public_addresses_are_allowed(host: str) -> None:
    """Including IPv4 addresses that are translated to IPv6."""
    with closing(open_notifier({"url": f"https://{host}/hook", "secret": SECRET})) as notifier:
        assert host.strip("[]") in repr(notifier)


def refused(host: str) -> bool:
    """Whether a URL with this host is refused."""
    try:
        open_notifier({"url": f"http://{host}/", "secret": SECRET}).close()
    except ConfigurationError:
        return True
    return False


@given(st.ip_addresses(v=4) | st.ip_addresses(v=4, network="128.0.0.0/1"))
def test_every_notation_of_an_address_has_the_same_result(address: IPv4Address) -> None:
    """Dotted, as a number in any base, mapped and translated."""
    number = int(address)
    translated = f"[64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}]"
    notations = (str(number), hex(number), f"0{number:o}", f"[::ffff:{address}]", translated)
    assert {refused(host) for host in notations} == {refused(str(address))}


@given(st.ip_addresses(v=4))
def test_tunnels_are_refused(address: IPv4Address) -> None:
    """6to4 and Teredo embed addresses that are not checked."""
    number = f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
    assert refused(f"[2002:{number}::1]")
    assert refused(f"[2001:0:{number}::1]")
