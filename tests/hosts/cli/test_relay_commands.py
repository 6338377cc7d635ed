"""relay, deliveries, channels and routes, as they are typed, and what a receiver of webhooks on this machine gets."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import pytest

import harken
from support import PATIENCE, eventually

pytestmark = pytest.mark.slow

URL = "sqlite:///feedback.db"
#: Of a test's receiver only.
SECRET = "whsec_" + "a" * 32


class Receiver:
    """Takes webhooks on loopback, or refuses them while ``status`` says so; answers when it ``may_answer``."""

    def __init__(self) -> None:
        self.status = 204
        self.may_answer = Event()
        self.may_answer.set()
        self.ids: list[str] = []
        self.bodies: list[Any] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                receiver.ids.append(self.headers["webhook-id"])
                receiver.bodies.append(json.loads(content))
                receiver.may_answer.wait(PATIENCE)
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody wants to know."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self._server.server_port}/hooks"

    def close(self) -> None:
        """Receive nothing any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


def configured(tmp_path: Path, receiver: Receiver, more: str = "") -> None:
    """Let the settings of a test have the receiver as their channel ``support``."""
    (tmp_path / "harken.toml").write_text(
        f"""
        [channels.support]
        kind = "webhook"
        url = "{receiver.url}"
        secret = "{SECRET}"
        allow = ["127.0.0.1"]
        {more}
        """
    )


# --- relay ------------------------------------------------------------------------------------------------------------


def test_once_sends_all_that_is_due(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """What came in arrives, each under its own id, it is said how many were tried, and nothing is sent again."""
    configured(tmp_path, receiver)
    cli("submit", "s-1", "up")
    cli("--application", "shop", "submit", "s-2", "down", "Too slow")
    ran = cli("relay", "--once")
    assert (ran.code, ran.out, ran.err) == (0, "2 deliveries tried\n", "")
    assert len(set(receiver.ids)) == 2
    assert {body["data"]["session_id"] for body in receiver.bodies} == {"s-1", "s-2"}
    assert {body["type"] for body in receiver.bodies} == {"feedback.created"}
    assert cli("relay", "--once").out == "Nothing was due\n"
    cli("submit", "s-3", "up")
    assert cli("relay", "--once", "--json").json == {"tried": 1}
    assert len(receiver.ids) == 3


def test_the_log_is_the_channel_where_none_is_configured(cli: Any) -> None:
    """Without settings everything goes to stderr, a line each with what it is about, and stdout has the result."""
    feedback_id = cli("submit", "s", "up", "A comment", "--json").json["id"]
    ran = cli("relay", "--once")
    assert ran.out == "1 delivery tried\n"
    (line,) = ran.err.splitlines()
    assert "  info  Feedback given: up" in line
    assert f'feedback_id="{feedback_id}"' in line
    assert "A comment" not in line


def test_what_fails_is_told_on_stderr(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """An operator sees which channel did not take what and why; it is tried again later."""
    configured(tmp_path, receiver)
    receiver.status = 500
    cli("submit", "s", "up")
    ran = cli("relay", "--once", "--json")
    assert (ran.code, ran.json) == (0, {"tried": 1})
    assert "  warning  Channel support did not accept " in ran.err
    assert "500" in ran.err
    (pending,) = cli("deliveries", "list", "--state", "pending", "--json").json["deliveries"]
    assert (pending["tries"], "500" in pending["error"]) == (1, True)


def test_a_relay_of_nothing_is_refused(cli: Any) -> None:
    """What others write to memory no relay can see, so that one would wait for ever."""
    ran = cli("relay", storage="memory://")
    assert (ran.code, ran.out) == (2, "")
    assert "memory://" in ran.err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "pigeon"', "pigeon"),
        ('kind = "webhook"\nurl = "http://127.0.0.1/"\nsecret = "env:NOT_SET"', "NOT_SET"),
        (f'kind = "webhook"\nurl = "http://127.0.0.1/"\nsecret = "{SECRET}"', "127.0.0.1"),
    ],
)
def test_a_channel_that_cannot_be_used_is_told_at_once(cli: Any, tmp_path: Path, table: str, said: str) -> None:
    """Neither a relay nor the doctor waits until something happens to find that a channel makes no sense."""
    (tmp_path / "harken.toml").write_text(f"[channels.hooks]\n{table}\n")
    for arguments in (("relay",), ("relay", "--once")):
        ran = cli(*arguments, "--json")
        assert (ran.code, ran.out) == (2, "")
        assert "Channel 'hooks'" in ran.error["message"]
        assert said in ran.error["message"]
        assert SECRET not in ran.err
    ran = cli("doctor", "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert said in problem


@contextmanager
def relaying(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A relay as a process of its own, which is killed at the end if it has not ended."""
    program = "import sys; from harken_adapters.hosts.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "--storage", URL, "relay", *arguments]
    with subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have it ignored, which a process inherits.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def signals_pending(process_id: int) -> bool:
    """Whether a process has not yet received signals that were sent to it; never, where the system does not say."""
    status = Path(f"/proc/{process_id}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return any(int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_relays_until_a_signal_ends_it(cli: Any, tmp_path: Path, receiver: Receiver, number: signal.Signals) -> None:
    """It says where things go, sends what others write meanwhile, and ends quietly, with what it sends finished."""
    configured(tmp_path, receiver)
    cli("channels", "list")
    with relaying(tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(3)] == [
            "Harken passes on what happens, until it is interrupted\n",
            "  channel  support  on\n",
            "  route    support  to support  everything  from the settings\n",
        ]
        cli("submit", "s-1", "up")
        eventually(lambda: len(receiver.ids) == 1)
        receiver.may_answer.clear()
        cli("submit", "s-2", "up")
        eventually(lambda: len(receiver.ids) == 2)
        process.send_signal(number)
        eventually(lambda: not signals_pending(process.pid))
        assert process.poll() is None
        receiver.may_answer.set()
        assert process.wait(PATIENCE) == 0
        assert (process.stdout.read(), process.stderr.read()) == ("", "")
    delivered = cli("deliveries", "list", "--state", "delivered", "--json").json["deliveries"]
    assert {one["id"] for one in delivered} == set(receiver.ids)


def test_what_it_relays_to_is_told_as_json(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """A program learns at the start which channels and routes there are."""
    configured(tmp_path, receiver)
    channels, routes = cli("channels", "list", "--json").json, cli("routes", "list", "--json").json
    del channels["stranded"]
    with relaying(tmp_path, "--json") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "}\n")
        assert json.loads("".join(lines) + "}") == {**channels, **routes}
        process.terminate()
        assert process.wait(PATIENCE) == 0


# --- deliveries -------------------------------------------------------------------------------------------------------

AGAIN: Final = "1 to be sent again; what is no longer true is left out\n"


@pytest.fixture
def dead(cli: Any, tmp_path: Path, receiver: Receiver) -> list[str]:
    """The ids of two deliveries to ``support`` that died, the second one of the application ``shop``."""
    configured(tmp_path, receiver)
    receiver.status = 410
    cli("submit", "s-1", "up")
    cli("relay", "--once")
    cli("--application", "shop", "submit", "s-2", "up")
    cli("relay", "--once")
    receiver.status = 204
    receiver.ids.clear()
    with harken.connect(URL) as hk:
        hk.channels.switch_on("support")
        return [delivery.id for delivery in hk.deliveries.find()]


def test_dead_deliveries_are_listed_with_their_reason(cli: Any, dead: list[str]) -> None:
    """Those of all applications, unless one is chosen, a page at a time; in other states there are others."""
    ran = cli("deliveries", "list")
    assert [line.split("  ")[0] for line in ran.out.splitlines()[::2]] == dead
    assert all("410" in line for line in ran.out.splitlines()[1::2])
    assert [one["id"] for one in cli("deliveries", "list", "--json").json["deliveries"]] == dead
    of_shop = cli("--application", "shop", "deliveries", "list", "--json").json["deliveries"]
    assert [(one["id"], one["event"]["application"]) for one in of_shop] == [(dead[1], "shop")]
    first = cli("deliveries", "list", "--limit", "1", "--json").json
    assert ([one["id"] for one in first["deliveries"]], first["next"]) == (dead[:1], dead[0])
    assert f"--after {dead[0]}" in cli("deliveries", "list", "--limit", "1").out
    rest = cli("deliveries", "list", "--limit", "1", "--after", dead[0], "--json").json
    assert ([one["id"] for one in rest["deliveries"]], rest["next"]) == (dead[1:], None)
    assert cli("deliveries", "list", "--channel", "log").out == "There are no dead deliveries\n"
    assert cli("deliveries", "list", "--state", "delivered").out == "There are no delivered deliveries\n"


def test_a_delivery_is_shown_with_all_that_is_known(cli: Any, dead: list[str]) -> None:
    """Its event, how often it was tried and why it died; another application's is not there."""
    shown = cli("deliveries", "show", dead[1])
    assert shown.code == 0
    for fact in (dead[1], "dead", "support", "feedback.created", "shop", "410"):
        assert fact in shown.out
    record = cli("deliveries", "show", dead[1], "--json").json
    assert record in cli("deliveries", "list", "--json").json["deliveries"]
    other = cli("--application", "other", "deliveries", "show", dead[1], "--json")
    assert (other.code, other.error["error"]) == (4, "DeliveryNotFound")


def test_a_delivery_is_replayed(cli: Any, dead: list[str], receiver: Receiver) -> None:
    """A dead one arrives under its old id, and is dead no more; what was delivered arrives once more."""
    assert cli("deliveries", "replay", dead[0], dead[0]).out == AGAIN
    assert cli("relay", "--once").out == "1 delivery tried\n"
    assert receiver.ids == dead[:1]
    delivered = cli("deliveries", "list", "--state", "delivered", "--json").json["deliveries"]
    assert [one["id"] for one in delivered] == [dead[0]]
    assert cli("deliveries", "replay", dead[0]).out == AGAIN
    cli("relay", "--once")
    assert receiver.ids == [dead[0], dead[0]]


def test_what_was_delivered_is_replayed_by_time_and_route(cli: Any, dead: list[str], receiver: Receiver) -> None:
    """For a receiver that lost its data; where nothing is meant, that is said."""
    cli("deliveries", "replay", "--all")
    cli("relay", "--once")
    receiver.ids.clear()
    cli("routes", "add", "happy", "--channel", "support", "--rating", "up", "--of", "shop")
    delivered = ("deliveries", "replay", "--all", "--state", "delivered")
    nothing = "There are no such delivered deliveries, so nothing is sent again\n"
    assert cli(*delivered, "--until", "2020-01-01").out == nothing
    assert cli(*delivered, "--channel", "log").out == nothing
    assert cli(*delivered, "--since", "2020-01-01", "--route", "happy", "--json").json == {"replayed": 1}
    cli("relay", "--once")
    assert receiver.ids == [dead[1]]
    unknown = cli(*delivered, "--route", "unhappy", "--json")
    assert (unknown.code, unknown.error["error"]) == (4, "NoSuchRoute")


def test_all_that_is_dead_is_replayed(cli: Any, dead: list[str], receiver: Receiver) -> None:
    """Of the chosen application and channel, or of all, and it is said how many that was."""
    assert cli("deliveries", "replay", "--all", "--channel", "log", "--json").json == {"replayed": 0}
    assert cli("--application", "shop", "deliveries", "replay", "--all").out == AGAIN
    assert cli("deliveries", "replay", "--all", "--channel", "support").out == AGAIN
    assert cli("deliveries", "replay", "--all").out == "There are no such dead deliveries, so nothing is sent again\n"
    cli("relay", "--once")
    assert sorted(receiver.ids) == sorted(dead)


def test_a_mistyped_id_replays_nothing(cli: Any, dead: list[str]) -> None:
    """It is looked up before any other is sent."""
    assert cli("deliveries", "replay", dead[0], "nobody").code == 4
    assert [one["id"] for one in cli("deliveries", "list", "--json").json["deliveries"]] == dead


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("replay",), 2, "--all"),
        (("replay", "x", "--all"), 2, "--all"),
        (("replay", "x", "--channel", "log"), 2, "belong to --all"),
        (("replay", "x", "--since", "2026-01-01"), 2, "belong to --all"),
        (("replay", "--all", "--since", "yesterday"), 2, "ISO 8601"),
        (("replay", "--all", "--route", "\udcff"), 2, "--route"),
        (("move", "log", "pigeons"), 4, "no channel 'pigeons'"),
        (("move", "pigeons", "log"), 4, "No delivery waits for a channel 'pigeons'"),
        (("bury", "pigeons"), 4, "No delivery waits for a channel 'pigeons'"),
        (("bury", "log"), 3, "is configured"),
        (("show", "nobody"), 4, "nobody"),
        (("list", "--channel", "\udcff"), 2, "--channel"),
        (("replay", "--all", "--channel", "\udcff"), 2, "--channel"),
        (("replay", "\udcff"), 4, "no delivery"),
        (("list", "--state", "lost"), 2, "'pending', 'delivered', 'dead'"),
        (("list", "--limit", "0"), 3, "limit"),
        (("list", "--after", "nobody"), 4, "nobody"),
    ],
)
def test_what_makes_no_sense_of_deliveries_is_refused(
    cli: Any, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """It is said what is wrong, and the code says of which kind that is."""
    ran = cli("deliveries", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


# --- channels ---------------------------------------------------------------------------------------------------------


def test_a_channel_is_switched_off_and_on(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """While it is off nothing is sent there, and what should have been can be replayed when it is on again."""
    configured(tmp_path, receiver)
    assert cli("channels", "list").out == "support  on\n"
    off = cli("channels", "off", "support", "--reason", "they move")
    assert off.out.startswith("support  off since 2")
    assert off.out.endswith("Z: they move\n")
    assert cli("channels", "list").out == off.out
    cli("submit", "s", "up")
    cli("relay", "--once")
    assert receiver.ids == []
    assert cli("doctor").code == 1
    assert cli("channels", "on", "support").out == "support  on\n"
    cli("deliveries", "replay", "--all")
    cli("relay", "--once")
    assert "feedback.created" in [body["type"] for body in receiver.bodies]
    assert cli("doctor").code == 0


def test_a_channel_as_json(cli: Any) -> None:
    """A program learns whether it is on, since when it is not, and why."""
    on = {"name": "log", "on": True, "failing_since": None, "off_since": None, "reason": ""}
    assert cli("channels", "list", "--json").json == {"channels": [on], "stranded": {}}
    off = cli("channels", "off", "log", "--json").json
    assert {**off, "off_since": None} == {**on, "on": False, "reason": "by hand"}
    assert cli("channels", "list", "--json").json == {"channels": [off], "stranded": {}}
    assert cli("channels", "on", "log", "--json").json == on


def test_a_channel_that_fails_says_since_when(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """From the first failure until something arrives."""
    configured(tmp_path, receiver)
    receiver.status = 500
    cli("submit", "s", "up")
    cli("relay", "--once")
    assert cli("channels", "list").out.startswith("support  on, but failing since 2")
    report = cli("doctor", "--json")
    assert (report.code, report.json["dead_letters"]) == (1, 0)
    (failing,) = report.json["problems"]
    assert failing.startswith("Channel support is on, but failing since 2")
    receiver.status = 204
    cli("submit", "s", "up")
    cli("relay", "--once")
    assert cli("channels", "list").out == "support  on\n"


def test_doctor_counts_what_is_dead(cli: Any, dead: list[str]) -> None:
    """Of all applications, or of one, and says how to see it and what to do."""
    for arguments, count in (((), len(dead)), (("--application", "shop"), 1)):
        ran = cli(*arguments, "doctor", "--json")
        assert (ran.code, ran.json["dead_letters"]) == (1, count)
    assert "Problem: 2 deliveries are dead; to see why: harken --storage" in cli("doctor").out
    assert cli("--application", "other", "doctor").code == 0


def test_what_waits_for_a_channel_that_is_gone_is_named_and_moved_or_buried(
    cli: Any, tmp_path: Path, receiver: Receiver
) -> None:
    """After a channel was renamed, doctor and the list say how much waits for it and what to type."""
    configured(tmp_path, receiver)
    receiver.status = 500
    for session in ("s-1", "s-2"):
        cli("submit", session, "up")
    cli("relay", "--once")
    settings = tmp_path / "harken.toml"
    settings.write_text(settings.read_text().replace("support", "help"))
    said = "2 deliveries wait for the channel support, which the settings do not name"
    assert said in cli("channels", "list").out
    assert cli("channels", "list", "--json").json["stranded"] == {"support": 2}
    report = cli("doctor", "--json")
    assert (report.code, report.json["stranded"]) == (1, {"support": 2})
    assert [problem[: len(said)] for problem in report.json["problems"]] == [said]
    receiver.status = 204
    warned = cli("relay", "--once")
    assert (warned.code, warned.out) == (0, "Nothing was due\n")
    assert f"Warning: {said}" in warned.err
    # They are about all applications, which the hint says without --application and which one cannot narrow down.
    hint = cli("--application", "shop", "channels", "list").out
    assert "deliveries move support TO" in hint
    assert "--application" not in hint
    for command in (("move", "support", "help"), ("bury", "support")):
        narrowed = cli("--application", "shop", "deliveries", *command, "--json")
        assert (narrowed.code, narrowed.error["error"]) == (2, "WrongUsage")
        assert "all applications; leave out --application" in narrowed.error["message"]
    assert cli("deliveries", "move", "support", "help").out == "2 moved from support to help\n"
    assert cli("relay", "--once").err == ""
    assert len(receiver.ids) == 4  # each was tried once before
    assert {one.partition(":")[2] for one in receiver.ids} == {"support", "help"}
    assert cli("doctor").code == 0
    receiver.status = 500
    cli("submit", "s-3", "up")
    cli("relay", "--once")
    settings.write_text(settings.read_text().replace("help", "support"))
    assert cli("deliveries", "bury", "help", "--json").json == {"buried": 1}
    (letter,) = cli("deliveries", "list", "--json").json["deliveries"]
    assert letter["error"] == "There is no channel 'help' any more"


def test_what_is_replayed_to_a_channel_that_is_gone_is_named(cli: Any, dead: list[str], tmp_path: Path) -> None:
    """Sending it again would strand it, so that is said at once, on stderr."""
    settings = tmp_path / "harken.toml"
    settings.write_text(settings.read_text().replace("support", "help"))
    ran = cli("deliveries", "replay", "--all", "--json")
    assert (ran.code, ran.json) == (0, {"replayed": len(dead)})
    assert "Warning: 2 deliveries wait for the channel support, which the settings do not name" in ran.err
    assert "deliveries move support TO" in ran.err


def test_without_channels_that_is_said(cli: Any, tmp_path: Path) -> None:
    """An empty table means that nobody is told, and an empty list would say so to nobody."""
    (tmp_path / "harken.toml").write_text("[channels]\n")
    assert cli("channels", "list").out == "There are no channels: the settings name none\n"
    assert cli("routes", "list").out == "There are no routes, so nothing is sent\n"


def test_a_reason_that_is_no_text_is_refused(cli: Any) -> None:
    """Every process on the storage will read it."""
    ran = cli("channels", "off", "log", "--reason", "\udcff")
    assert (ran.code, ran.out) == (2, "")
    assert "--reason" in ran.err
    assert cli("channels", "list").out == "log  on\n"


@pytest.mark.parametrize("command", ["on", "off"])
def test_an_unknown_channel_is_not_found(cli: Any, command: str) -> None:
    """It is said which there are."""
    ran = cli("channels", command, "pigeons", "--json")
    assert (ran.code, ran.error["error"]) == (4, "NoSuchChannel")
    assert "log" in ran.error["message"]


# --- routes -----------------------------------------------------------------------------------------------------------


def test_what_a_route_takes_arrives(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """With all its filters, of each of which any value is enough; until it is removed."""
    configured(
        tmp_path, receiver, '[channels.log]\nkind = "log"\n[[routes]]\nname = "own"\nchannel = "log"\nagents = ["x"]'
    )
    filters = ("--event", "feedback.created", "--rating", "down", "--rating", "neutral", "--of", "default")
    added = cli("routes", "add", "downs", "--channel", "support", *filters, "--tag", "slow", "--status", "approved")
    assert (added.code, added.err) == (0, "")
    for session, rating, tag in (("s-1", "down", "slow"), ("s-2", "up", "slow"), ("s-3", "down", "wrong")):
        cli("submit", session, rating, "So it is", "--tag", tag)
    cli("--application", "shop", "submit", "s-4", "down", "So it is", "--tag", "slow")
    cli("relay", "--once")
    assert [body["data"]["session_id"] for body in receiver.bodies] == ["s-1"]
    assert cli("routes", "remove", "downs").out == "downs was removed\n"
    cli("submit", "s-5", "down", "So it is", "--tag", "slow")
    cli("relay", "--once")
    assert len(receiver.ids) == 1


def test_routes_are_listed_with_where_they_come_from(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """Those of the settings first and marked, as they cannot be changed here; putting one again replaces it."""
    configured(
        tmp_path,
        receiver,
        '[[routes]]\nname = "bad"\nchannel = "support"\nratings = ["down"]\nevents = ["alert.raised"]',
    )
    cli("routes", "add", "all", "--channel", "support", "--agent", "a")
    cli("routes", "add", "all", "--channel", "support")
    assert cli("routes", "list").out.splitlines() == [
        "bad  to support  events alert.raised  ratings down  from the settings",
        "all  to support  everything",
    ]
    bad, everything = cli("routes", "list", "--json").json["routes"]
    assert (bad["name"], bad["ratings"], bad["configured"]) == ("bad", ["down"], True)
    assert (everything["name"], everything["agents"], everything["configured"]) == ("all", [], False)
    removed = cli("routes", "remove", "bad")
    assert removed.code == 2
    assert "comes from the settings" in removed.err


def test_without_routes_everything_goes_everywhere(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """Whoever names channels and no routes sees that as the routes that it means."""
    configured(tmp_path, receiver)
    assert cli("routes", "list").out == "support  to support  everything  from the settings\n"


def test_a_template_makes_the_text(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """What the route says is sent with the notification."""
    configured(tmp_path, receiver, '[[routes]]\nname = "none"\nchannel = "support"\nagents = ["x"]')
    template = "{{ rating }} in {{ session_id }}"
    added = cli("routes", "add", "told", "--channel", "support", "--template", template, "--json")
    assert added.json["template"] == template
    cli("submit", "s", "up")
    cli("relay", "--once")
    assert [body["data"]["text"] for body in receiver.bodies] == ["up in s"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("add", "x"), 2, "--channel"),
        (("add", "x", "--channel", "pigeons"), 2, "known are log"),
        (("add", "x y", "--channel", "log"), 2, "x y"),
        (("add", "x", "--channel", "log", "--event", "feedback.lost"), 2, "feedback.created"),
        (("add", "x", "--channel", "log", "--event", "feedback.erased"), 2, "it cannot be routed"),
        (("add", "x", "--channel", "log", "--rating", "sideways"), 2, "'up', 'down', 'neutral'"),
        (("add", "x", "--channel", "log", "--template", "{{ rating"), 2, "template"),
        (("add", "x", "--channel", "log", "--template", "{{ comment" + "|e" * 50 + " }}"), 2, "too much work"),
        (("remove", "\udcff"), 4, "no route"),
        (("add", "x", "--channel", "log", "--template", "\udcff"), 2, "template"),
        (("remove", "nobody"), 4, "nobody"),
    ],
)
def test_a_route_that_makes_no_sense_is_not_added(cli: Any, arguments: tuple[str, ...], code: int, said: str) -> None:
    """It is said what is missing or wrong, and what there is."""
    ran = cli("routes", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert len(cli("routes", "list", "--json").json["routes"]) == 1


# --- import -----------------------------------------------------------------------------------------------------------


def test_an_import_announces_only_if_asked(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """Old feedback is no news, unless somebody says that it is; importing it again is none either way."""
    configured(tmp_path, receiver)
    (tmp_path / "old.csv").write_text("session_id,rating\na,up\nb,up\n")
    (tmp_path / "new.csv").write_text("session_id,rating\nc,up\nd,sideways\n")
    cli("import", "old.csv")
    cli("import", "old.csv", "--announce")
    assert cli("relay", "--once").out == "Nothing was due\n"
    for _ in range(2):
        cli("import", "new.csv", "--announce")
        cli("relay", "--once")
    assert [body["data"]["session_id"] for body in receiver.bodies] == ["c"]


def test_what_is_restored_is_never_announced(cli: Any) -> None:
    """An export holds what was told of already, when it came in."""
    cli("submit", "s", "up")
    cli("export", "backup.jsonl")
    cli("import", "backup.jsonl", "--announce", storage="sqlite:///copy.db")
    with harken.connect("sqlite:///copy.db") as hk:
        assert (hk.summary().total, list(hk.outbox.events(limit=10))) == (1, [])
