"""The commands relay, deliveries, channels and routes, with a webhook receiver on localhost."""

import json
import re
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
#: The secret of the receiver in these tests.
SECRET = "whsec_" + "a" * 32


class Receiver:
    """A webhook receiver on localhost that answers with ``status``, once ``may_answer`` is set."""

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
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The URL of the webhook."""
        return f"http://127.0.0.1:{self._server.server_port}/hooks"

    def close(self) -> None:
        """Stop receiving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


def configured(tmp_path: Path, receiver: Receiver, more: str = "") -> None:
    """Write settings with the receiver as the channel ``support``."""
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


def test_once_sends_all_due_deliveries(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """Each event is delivered once, under its own id, and the number of attempts is printed."""
    configured(tmp_path, receiver)
    cli("submit", "s-1", "up")
    cli("--application", "shop", "submit", "s-2", "down", "Too slow")
    ran = cli("relay", "--once")
    assert (ran.code, ran.out, ran.err) == (0, "2 deliveries attempted\n", "")
    assert len(set(receiver.ids)) == 2
    assert {body["data"]["session_id"] for body in receiver.bodies} == {"s-1", "s-2"}
    assert {body["type"] for body in receiver.bodies} == {"feedback.created"}
    assert cli("relay", "--once").out == "No deliveries were due\n"
    cli("submit", "s-3", "up")
    assert cli("relay", "--once", "--json").json == {"attempted": 1}
    assert len(receiver.ids) == 3


def test_the_default_channel_is_the_log(cli: Any) -> None:
    """Without settings each notification is one line on stderr; stdout has the result."""
    feedback_id = cli("submit", "s", "up", "A comment", "--json").json["id"]
    ran = cli("relay", "--once")
    assert ran.out == "1 delivery attempted\n"
    (line,) = ran.err.splitlines()
    assert "  info  New feedback: up" in line
    assert f'feedback_id="{feedback_id}"' in line
    assert "A comment" not in line


def test_failures_are_logged_to_stderr(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """The log line has the channel, the delivery and the reason; the delivery stays pending."""
    configured(tmp_path, receiver)
    receiver.status = 500
    cli("submit", "s", "up")
    ran = cli("relay", "--once", "--json")
    assert (ran.code, ran.json) == (0, {"attempted": 1})
    assert re.search(r"  warning  Delivery \S+ to channel 'support' failed \(attempt 1\): ", ran.err)
    assert "500" in ran.err
    (pending,) = cli("deliveries", "list", "--state", "pending", "--json").json["deliveries"]
    assert (pending["tries"], "500" in pending["error"]) == (1, True)


def test_a_relay_of_memory_is_refused(cli: Any) -> None:
    """A relay cannot see the memory of another process, so it would wait forever."""
    ran = cli("relay", storage="memory://")
    assert (ran.code, ran.out) == (2, "")
    assert "memory://" in ran.err


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('kind = "pigeon"', "pigeon"),
        ('kind = "webhook"\nurl = "http://127.0.0.1/"\nsecret = "env:NOT_SET"', "NOT_SET"),
        (f'kind = "webhook"\nurl = "http://127.0.0.1/"\nsecret = "{SECRET}"', "127.0.0.1"),
    ],
)
def test_an_invalid_channel_is_reported_at_once(cli: Any, tmp_path: Path, table: str, message: str) -> None:
    """``relay`` and ``doctor`` report an invalid channel before there is an event."""
    (tmp_path / "harken.toml").write_text(f"[channels.hooks]\n{table}\n")
    for arguments in (("relay",), ("relay", "--once")):
        ran = cli(*arguments, "--json")
        assert (ran.code, ran.out) == (2, "")
        assert "Channel 'hooks'" in ran.error["message"]
        assert message in ran.error["message"]
        assert SECRET not in ran.err
    ran = cli("doctor", "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert message in problem


@contextmanager
def relaying(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A relay in a separate process, which is killed at the end if it is still running."""
    program = "import sys; from harken_adapters.hosts.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "--storage", URL, "relay", *arguments]
    with subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background process may ignore SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def signals_pending(process_id: int) -> bool:
    """Whether signals to a process are pending. Always false on systems without /proc."""
    status = Path(f"/proc/{process_id}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return any(int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_relays_until_a_signal_ends_it(cli: Any, tmp_path: Path, receiver: Receiver, number: signal.Signals) -> None:
    """The relay prints its routes, delivers new events, and finishes deliveries in progress on a signal."""
    configured(tmp_path, receiver)
    cli("channels", "list")
    with relaying(tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(3)] == [
            "Relay started; press Ctrl-C to stop\n",
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


@pytest.mark.usefixtures("empty_storage")
def test_the_start_of_a_relay_as_json(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """With --json the relay prints its channels and routes at the start."""
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

AGAIN: Final = "1 delivery will be sent again; outdated ones are skipped\n"


@pytest.fixture
def dead(cli: Any, tmp_path: Path, receiver: Receiver) -> list[str]:
    """The ids of two dead deliveries to ``support``, the second of the application ``shop``."""
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
    """Lists deliveries of all applications or of one, in pages, and by state and channel."""
    ran = cli("deliveries", "list")
    assert [line.split("  ")[0] for line in ran.out.splitlines() if not line.startswith(" ")] == dead
    assert ran.out.count("responded with 410") == len(dead)
    assert [one["id"] for one in cli("deliveries", "list", "--json").json["deliveries"]] == dead
    of_shop = cli("--application", "shop", "deliveries", "list", "--json").json["deliveries"]
    assert [(one["id"], one["event"]["application"]) for one in of_shop] == [(dead[1], "shop")]
    first = cli("deliveries", "list", "--limit", "1", "--json").json
    assert ([one["id"] for one in first["deliveries"]], first["next"]) == (dead[:1], dead[0])
    assert f"--after {dead[0]}" in cli("deliveries", "list", "--limit", "1").out
    rest = cli("deliveries", "list", "--limit", "1", "--after", dead[0], "--json").json
    assert ([one["id"] for one in rest["deliveries"]], rest["next"]) == (dead[1:], None)
    assert cli("deliveries", "list", "--channel", "log").out == "No dead deliveries\n"
    assert cli("deliveries", "list", "--state", "delivered").out == "No delivered deliveries\n"


def test_a_delivery_is_shown_in_full(cli: Any, dead: list[str]) -> None:
    """Including its event and error; another application does not find it."""
    shown = cli("deliveries", "show", dead[1])
    assert shown.code == 0
    for fact in (dead[1], "dead", "support", "feedback.created", "shop", "410"):
        assert fact in shown.out
    record = cli("deliveries", "show", dead[1], "--json").json
    assert record in cli("deliveries", "list", "--json").json["deliveries"]
    other = cli("--application", "other", "deliveries", "show", dead[1], "--json")
    assert (other.code, other.error["error"]) == (4, "DeliveryNotFound")


def test_a_delivery_is_replayed(cli: Any, dead: list[str], receiver: Receiver) -> None:
    """A replayed delivery is sent under its old id, whether it was dead or delivered."""
    assert cli("deliveries", "replay", dead[0], dead[0]).out == AGAIN
    assert cli("relay", "--once").out == "1 delivery attempted\n"
    assert receiver.ids == dead[:1]
    delivered = cli("deliveries", "list", "--state", "delivered", "--json").json["deliveries"]
    assert [one["id"] for one in delivered] == [dead[0]]
    assert cli("deliveries", "replay", dead[0]).out == AGAIN
    cli("relay", "--once")
    assert receiver.ids == [dead[0], dead[0]]


def test_delivered_ones_are_replayed_by_time_and_route(cli: Any, dead: list[str], receiver: Receiver) -> None:
    """As for a receiver that lost its data. The output says when no delivery matches."""
    cli("deliveries", "replay", "--all")
    cli("relay", "--once")
    receiver.ids.clear()
    cli("routes", "add", "happy", "--channel", "support", "--rating", "up", "--for-application", "shop")
    delivered = ("deliveries", "replay", "--all", "--state", "delivered")
    nothing = "No delivered deliveries match; nothing will be sent again\n"
    assert cli(*delivered, "--until", "2020-01-01").out == nothing
    assert cli(*delivered, "--channel", "log").out == nothing
    assert cli(*delivered, "--since", "2020-01-01", "--route", "happy", "--json").json == {"replayed": 1}
    cli("relay", "--once")
    assert receiver.ids == [dead[1]]
    unknown = cli(*delivered, "--route", "unhappy", "--json")
    assert (unknown.code, unknown.error["error"]) == (4, "NoSuchRoute")


def test_all_dead_deliveries_are_replayed(cli: Any, dead: list[str], receiver: Receiver) -> None:
    """Of all applications and channels or one, with their number in the output."""
    assert cli("deliveries", "replay", "--all", "--channel", "log", "--json").json == {"replayed": 0}
    assert cli("--application", "shop", "deliveries", "replay", "--all").out == AGAIN
    assert cli("deliveries", "replay", "--all", "--channel", "support").out == AGAIN
    assert cli("deliveries", "replay", "--all").out == "No dead deliveries match; nothing will be sent again\n"
    cli("relay", "--once")
    assert sorted(receiver.ids) == sorted(dead)


def test_a_mistyped_id_replays_nothing(cli: Any, dead: list[str]) -> None:
    """All ids are checked before any delivery is replayed."""
    assert cli("deliveries", "replay", dead[0], "nobody").code == 4
    assert [one["id"] for one in cli("deliveries", "list", "--json").json["deliveries"]] == dead


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("replay",), 2, "--all"),
        (("replay", "x", "--all"), 2, "--all"),
        (("replay", "x", "--channel", "log"), 2, "need --all"),
        (("replay", "x", "--since", "2026-01-01"), 2, "need --all"),
        (("replay", "--all", "--since", "yesterday"), 2, "ISO 8601"),
        (("replay", "--all", "--route", "\udcff"), 2, "--route"),
        (("move", "log", "pigeons"), 4, "Unknown channel 'pigeons'"),
        (("move", "pigeons", "log"), 4, "No delivery waits for a channel 'pigeons'"),
        (("bury", "pigeons"), 4, "No delivery waits for a channel 'pigeons'"),
        (("bury", "log"), 2, "is configured"),
        (("show", "nobody"), 4, "nobody"),
        (("list", "--channel", "\udcff"), 2, "--channel"),
        (("replay", "--all", "--channel", "\udcff"), 2, "--channel"),
        (("replay", "\udcff"), 4, "No delivery with id"),
        (("list", "--state", "lost"), 2, "'pending', 'delivered', 'dead'"),
        (("list", "--limit", "0"), 2, "limit"),
        (("list", "--after", "nobody"), 4, "nobody"),
    ],
)
@pytest.mark.usefixtures("empty_storage")
def test_invalid_arguments_of_deliveries(cli: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    """The error names the problem, and its kind determines the exit code."""
    ran = cli("deliveries", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


# --- channels ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("empty_storage")
def test_a_channel_is_switched_off_and_on(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """While a channel is off nothing is sent; its deliveries can be replayed later."""
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


@pytest.mark.usefixtures("empty_storage")
def test_a_channel_as_json(cli: Any) -> None:
    """The JSON output has the status, since when, and the reason."""
    listed = cli("channels", "list", "--json").json
    (on,) = listed["channels"]
    assert listed["stranded"] == {}
    state = {"name": "log", "on": True, "failing_since": None, "off_since": None, "reason": "", "cause": ""}
    assert on == {**on, **state, "kind": "log", "destination": "", "configured": True, "pending": 0, "dead": 0}
    off = cli("channels", "off", "log", "--json").json
    assert {**off, "off_since": None} == {**on, "on": False, "reason": "switched off manually"}
    assert cli("channels", "list", "--json").json == {"channels": [off], "stranded": {}}
    assert cli("channels", "on", "log", "--json").json == on


def test_a_failing_channel(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """A channel is failing from its first failure until its next success."""
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
    assert cli("channels", "list").out == "support  on  1 pending\n"


def test_doctor_counts_dead_deliveries(cli: Any, dead: list[str]) -> None:
    """Of all applications or of one; the problem has the commands to list and replay them."""
    for arguments, count in (((), len(dead)), (("--application", "shop"), 1)):
        ran = cli(*arguments, "doctor", "--json")
        assert (ran.code, ran.json["dead_letters"]) == (1, count)
    assert "Problem: 2 deliveries are dead; to see why, run: harken --storage" in cli("doctor").out
    assert cli("--application", "other", "doctor").code == 0


def test_deliveries_of_a_removed_channel_are_moved_or_buried(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """After a channel was renamed, ``doctor`` and ``channels list`` report its pending deliveries and what to run."""
    configured(tmp_path, receiver)
    receiver.status = 500
    for session in ("s-1", "s-2"):
        cli("submit", session, "up")
    cli("relay", "--once")
    settings = tmp_path / "harken.toml"
    settings.write_text(settings.read_text().replace("support", "help"))
    message = "2 deliveries are pending for channel support, which is not in the settings"
    assert message in cli("channels", "list").out
    assert cli("channels", "list", "--json").json["stranded"] == {"support": 2}
    report = cli("doctor", "--json")
    assert (report.code, report.json["stranded"]) == (1, {"support": 2})
    assert [problem[: len(message)] for problem in report.json["problems"]] == [message]
    receiver.status = 204
    warned = cli("relay", "--once")
    assert (warned.code, warned.out) == (0, "No deliveries were due\n")
    assert f"Warning: {message}" in warned.err
    # Both commands cover all applications: the hint has no --application, and they refuse one.
    hint = cli("--application", "shop", "channels", "list").out
    assert "deliveries move support TO" in hint
    assert "--application" not in hint
    for command in (("move", "support", "help"), ("bury", "support")):
        narrowed = cli("--application", "shop", "deliveries", *command, "--json")
        assert (narrowed.code, narrowed.error["error"]) == (2, "WrongUsage")
        assert "all applications; omit --application" in narrowed.error["message"]
    assert cli("deliveries", "move", "support", "help").out == "2 deliveries moved from support to help\n"
    assert cli("relay", "--once").err == ""
    assert len(receiver.ids) == 4  # each was attempted once before
    assert {one.partition(":")[2] for one in receiver.ids} == {"support", "help"}
    assert cli("doctor").code == 0
    receiver.status = 500
    cli("submit", "s-3", "up")
    cli("relay", "--once")
    settings.write_text(settings.read_text().replace("help", "support"))
    assert cli("deliveries", "bury", "help", "--json").json == {"buried": 1}
    (letter,) = cli("deliveries", "list", "--json").json["deliveries"]
    assert letter["error"] == "There is no channel 'help' any more"


def test_replaying_to_a_removed_channel_warns(cli: Any, dead: list[str], tmp_path: Path) -> None:
    """The replayed deliveries would stay pending, so a warning is printed to stderr."""
    settings = tmp_path / "harken.toml"
    settings.write_text(settings.read_text().replace("support", "help"))
    ran = cli("deliveries", "replay", "--all", "--json")
    assert (ran.code, ran.json) == (0, {"replayed": len(dead)})
    assert "Warning: 2 deliveries are pending for channel support, which is not in the settings" in ran.err
    assert "deliveries move support TO" in ran.err


@pytest.mark.usefixtures("empty_storage")
def test_no_channels(cli: Any, tmp_path: Path) -> None:
    """With an empty table in the settings, the lists say that no notifications are sent."""
    (tmp_path / "harken.toml").write_text("[channels]\n")
    assert cli("channels", "list").out == "No channels: the settings define none\n"
    assert cli("routes", "list").out == "No routes: no notifications are sent\n"


@pytest.mark.usefixtures("empty_storage")
def test_a_reason_that_is_not_valid_text_is_refused(cli: Any) -> None:
    """Every process on the storage must be able to read it."""
    ran = cli("channels", "off", "log", "--reason", "\udcff")
    assert (ran.code, ran.out) == (2, "")
    assert "--reason" in ran.err
    assert cli("channels", "list").out == "log  on\n"


@pytest.mark.usefixtures("empty_storage")
def test_a_channel_is_not_switched_off_without_a_reason(cli: Any) -> None:
    """An empty reason is refused, like in the API."""
    ran = cli("channels", "off", "log", "--reason", "")
    assert (ran.code, ran.err) == (3, "Error: reason must not be empty\n")
    assert cli("channels", "list").out == "log  on\n"


@pytest.mark.usefixtures("empty_storage")
@pytest.mark.parametrize("command", ["on", "off"])
def test_an_unknown_channel_is_not_found(cli: Any, command: str) -> None:
    """The error lists the known channels."""
    ran = cli("channels", command, "pigeons", "--json")
    assert (ran.code, ran.error["error"]) == (4, "NoSuchChannel")
    assert "log" in ran.error["message"]


# --- routes -----------------------------------------------------------------------------------------------------------


def test_a_route_delivers_matching_events(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """An event must match all filters, and any value of each, until the route is removed."""
    configured(
        tmp_path, receiver, '[channels.log]\nkind = "log"\n[[routes]]\nname = "own"\nchannel = "log"\nagents = ["x"]'
    )
    filters = ("--event", "feedback.created", "--rating", "down", "--rating", "neutral", "--for-application", "default")
    added = cli("routes", "add", "downs", "--channel", "support", *filters, "--tag", "slow", "--status", "approved")
    assert (added.code, added.err) == (0, "")
    for session, rating, tag in (("s-1", "down", "slow"), ("s-2", "up", "slow"), ("s-3", "down", "wrong")):
        cli("submit", session, rating, "Too slow", "--tag", tag)
    cli("--application", "shop", "submit", "s-4", "down", "Too slow", "--tag", "slow")
    cli("relay", "--once")
    assert [body["data"]["session_id"] for body in receiver.bodies] == ["s-1"]
    assert cli("routes", "remove", "downs").out == "Removed route downs\n"
    cli("submit", "s-5", "down", "Too slow", "--tag", "slow")
    cli("relay", "--once")
    assert len(receiver.ids) == 1


@pytest.mark.usefixtures("empty_storage")
def test_invalid_settings_of_a_channel_are_listed(cli: Any, tmp_path: Path) -> None:
    """``channels list`` shows the problem that a relay would report."""
    table = '[channels.support]\nkind = "webhook"\nurl = "https://example.com"\nsecret = "x"\n'
    (tmp_path / "harken.toml").write_text(table)
    ran = cli("channels", "list")
    assert ran.out.startswith("support  on\nProblem: Channel 'support': A secret of the webhook is invalid")


def test_a_dry_run_adds_no_route(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """``--dry-run`` says what the route would have sent in the last 24 hours, with examples, and stores nothing."""
    configured(tmp_path, receiver)
    for rating in ("down", "up", "down"):
        cli("submit", "s", rating, f"so {rating}", "--agent", "a")
    tried = ("routes", "add", "downs", "--channel", "support", "--rating", "down", "--agent", "a", "--dry-run")
    first, *examples = cli(*tried).out.splitlines()
    assert first == "downs would have matched 2 of 3 entries of the last 24 hours"
    assert [line.strip() for line in examples[1::2]] == ["so down"] * 2
    found = cli(*tried, "--json").json
    assert (found["matched"], found["total"], found["matched_alerts"], found["total_alerts"]) == (2, 3, 0, 0)
    assert "downs" not in [route["name"] for route in cli("routes", "list", "--json").json["routes"]]


def test_changes_of_sessions_are_routed_and_listed(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """A route must name them, and their deliveries are shown with the session and the names."""
    configured(tmp_path, receiver)
    event = ("--channel", "support", "--event", "session.metadata_updated")
    refused = cli("routes", "add", "sessions", *event, "--agent", "a")
    assert refused.code == 2
    assert "give it a route without ratings, agents, tags and statuses" in refused.err
    assert cli("routes", "add", "sessions", *event).code == 0
    tried = cli("routes", "add", "sessions", *event, "--dry-run").out.splitlines()
    assert tried[-1] == "Changes of session metadata are not stored, so they are not counted"
    # A program without settings, as the route is stored.
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        hk.sessions.update("default", "s-1", {"tier": "pro", "topic": "seats"})
    cli("relay", "--once")
    (body,) = receiver.bodies
    assert (body["type"], body["data"]["metadata"]) == (event[-1], {"tier": "pro", "topic": "seats"})
    (delivery,) = cli("deliveries", "list", "--state", "delivered", "--type", event[-1], "--json").json["deliveries"]
    assert delivery["event"]["session_id"] == "s-1"
    shown = cli("deliveries", "show", delivery["id"]).out
    assert re.search(r"subject +update of tier, topic\n", shown)
    assert re.search(r"session +s-1\n", shown)


def test_routes_are_listed_with_their_origin(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """Routes in the settings come first and are marked; adding a route again replaces it."""
    configured(
        tmp_path,
        receiver,
        '[[routes]]\nname = "bad"\nchannel = "support"\nratings = ["down"]\nevents = ["alert.raised"]',
    )
    cli("routes", "add", "all", "--channel", "support", "--agent", "a")
    cli("routes", "add", "all", "--channel", "support")
    assert [line.rstrip() for line in cli("routes", "list").out.strip().splitlines()] == [
        "bad  to support  events alert.raised  ratings down  from the settings",
        "all  to support  everything",
    ]
    bad, everything = cli("routes", "list", "--json").json["routes"]
    assert (bad["name"], bad["ratings"], bad["configured"]) == ("bad", ["down"], True)
    assert (everything["name"], everything["agents"], everything["configured"]) == ("all", [], False)
    removed = cli("routes", "remove", "bad")
    assert removed.code == 2
    assert "comes from the settings" in removed.err


@pytest.mark.usefixtures("empty_storage")
def test_without_routes_everything_goes_everywhere(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """Channels without routes are listed as the routes that this implies."""
    configured(tmp_path, receiver)
    assert [line.rstrip() for line in cli("routes", "list").out.strip().splitlines()] == [
        "support  to support  everything  from the settings",
    ]


def test_a_route_with_a_template(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """The notification has the text that the template renders."""
    configured(tmp_path, receiver, '[[routes]]\nname = "none"\nchannel = "support"\nagents = ["x"]')
    template = "{{ rating }} in {{ session_id }}"
    added = cli("routes", "add", "templated", "--channel", "support", "--template", template, "--json")
    assert added.json["template"] == template
    cli("submit", "s", "up")
    cli("relay", "--once")
    assert [body["data"]["text"] for body in receiver.bodies] == ["up in s"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("add", "x"), 2, "--channel"),
        (("add", "x", "--channel", "pigeons"), 2, "Unknown channel 'pigeons'; expected log"),
        (("add", "x y", "--channel", "log"), 2, "x y"),
        (("add", "x", "--channel", "log", "--event", "feedback.lost"), 2, "feedback.created"),
        (("add", "x", "--channel", "log", "--event", "feedback.erased"), 2, "it cannot be routed"),
        (("add", "x", "--channel", "log", "--rating", "sideways"), 2, "'up', 'down' or 'neutral'"),
        (("add", "x", "--channel", "log", "--template", "{{ rating"), 2, "template"),
        (("add", "x", "--channel", "log", "--template", "{{ comment" + "|e" * 50 + " }}"), 2, "too much work"),
        (("remove", "\udcff"), 4, "not found"),
        (("add", "x", "--channel", "log", "--template", "\udcff"), 2, "template"),
        (("remove", "nobody"), 4, "nobody"),
    ],
)
@pytest.mark.usefixtures("empty_storage")
def test_invalid_routes_are_not_added(cli: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    """The error names the invalid option and the valid values."""
    ran = cli("routes", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert len(cli("routes", "list", "--json").json["routes"]) == 1


# --- import -----------------------------------------------------------------------------------------------------------


def test_an_import_announces_only_on_request(cli: Any, tmp_path: Path, receiver: Receiver) -> None:
    """Imported rows cause notifications only with --announce, and duplicates never do."""
    configured(tmp_path, receiver)
    (tmp_path / "old.csv").write_text("session_id,rating\na,up\nb,up\n")
    (tmp_path / "new.csv").write_text("session_id,rating\nc,up\nd,sideways\n")
    cli("import", "old.csv")
    cli("import", "old.csv", "--announce")
    assert cli("relay", "--once").out == "No deliveries were due\n"
    for _ in range(2):
        cli("import", "new.csv", "--announce")
        cli("relay", "--once")
    assert [body["data"]["session_id"] for body in receiver.bodies] == ["c"]


def test_what_is_restored_is_never_announced(cli: Any) -> None:
    """Notifications of exported feedback were sent when it was submitted."""
    cli("submit", "s", "up")
    cli("export", "backup.jsonl")
    cli("import", "backup.jsonl", "--announce", storage="sqlite:///copy.db")
    with harken.connect("sqlite:///copy.db") as hk:
        assert (hk.summary().total, list(hk.outbox.events(limit=10))) == (1, [])


def test_why_deliveries_are_dead(cli: Any, dead: list[str], receiver: Receiver) -> None:
    """The summary counts by channel and names the cause; a delivery shows its attempts; the cause selects a replay."""
    counted = cli("deliveries", "summary")
    first, cause = counted.out.splitlines()
    assert first == "support  0 pending, 2 dead, 0 delivered"
    assert cause.startswith("2 dead deliveries to support: ")
    record = cli("deliveries", "summary", "--json").json
    (found,) = record["causes"]
    assert (record["dead"], found["count"]) == (2, 2)
    assert cli("--application", "shop", "deliveries", "summary", "--json").json["dead"] == 1
    shown = cli("deliveries", "show", dead[0]).out
    assert "attempt       20" in shown
    assert found["cause"] in shown
    assert cli("deliveries", "list", "--cause", "other").out == "No dead deliveries\n"
    listed = cli("deliveries", "list", "--newest-first", "--json").json["deliveries"]
    assert [one["id"] for one in listed] == dead[::-1]
    subject = listed[-1]["event"]["subject_id"]
    assert [one["id"] for one in cli("deliveries", "list", "--feedback", subject, "--json").json["deliveries"]] == dead[
        :1
    ]
    replay = ("deliveries", "replay", "--all", "--cause", found["cause"])
    assert cli(*replay, "--at-most", "1", "--as-of", record["as_of"], "--json").json == {"replayed": 1}
    assert cli("deliveries", "summary").out.splitlines()[0] == "support  1 pending, 1 dead, 0 delivered"


def test_nothing_is_replayed_while_the_channel_is_off(cli: Any, dead: list[str]) -> None:
    """The command is refused and says why; nothing changes."""
    cli("channels", "off", "support", "--reason", "it moves")
    assert cli("channels", "list").out.endswith(": it moves  2 dead\n")
    for arguments in (("--all",), (dead[0],)):
        refused = cli("deliveries", "replay", *arguments)
        assert (refused.code, refused.out) == (3, "")
        assert "Channel 'support' has been off since 2" in refused.err
    assert len(cli("deliveries", "list", "--json").json["deliveries"]) == 2
