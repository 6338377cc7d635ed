"""submit, list, show, moderate and erase: what they print, and the code they end with."""

import json
from pathlib import Path
from typing import Any

import pytest

import harken
from support import NOON

URL = "sqlite:///feedback.db"


def submitted(cli: Any, *arguments: str) -> str:
    """The id of what was submitted."""
    return str(cli("submit", *arguments, "--json").json["id"])


def test_what_is_submitted_is_kept(cli: Any) -> None:
    """Every part of a submission arrives, and ``show`` gives all of it back."""
    parts = (
        "--agent",
        "a",
        "--message",
        "m",
        "--author",
        "ann",
        "--tag",
        "x",
        "--tag",
        "y",
        "--context",
        "tier=gold=1",
    )
    receipt = cli("submit", "s", "down", "Too slow", *parts, "--key", "k", "--json")
    assert (receipt.code, receipt.err) == (0, "")
    assert receipt.json == {"id": receipt.json["id"], "duplicate": False, "status": "approved", "reply": None}
    shown = cli("show", receipt.json["id"], "--json").json
    expected = {
        "session_id": "s",
        "message_id": "m",
        "agent_id": "a",
        "author": "ann",
        "rating": "down",
        "comment": "Too slow",
        "tags": ["x", "y"],
        "context": {"tier": "gold=1"},
        "idempotency_key": "k",
        "version": 1,
        "revisions": [],
    }
    assert shown.items() >= expected.items()


@pytest.mark.parametrize("word", ["none", "neutral"])
def test_neither_up_nor_down_is_neutral(cli: Any, word: str) -> None:
    """Neutral has two names, on the way in and as a filter."""
    submitted(cli, "s", word)
    submitted(cli, "s", "up")
    [feedback] = cli("list", "--rating", word, "--json").json["feedback"]
    assert feedback["rating"] is None


def test_the_same_key_is_a_duplicate(cli: Any) -> None:
    """Repeating a command with a key keeps one feedback, and the answer says that it was there."""
    first = cli("submit", "s", "up", "--key", "k", "--json").json
    again = cli("submit", "s", "up", "--key", "k", "--json").json
    assert again == {**first, "duplicate": True}
    assert "there already" in cli("submit", "s", "up", "--key", "k").out
    conflict = cli("submit", "s", "down", "no", "--key", "k", "--json")
    assert (conflict.code, conflict.out, conflict.error["error"]) == (3, "", "IdempotencyConflict")


def test_a_vote_replaces_the_earlier_one(cli: Any) -> None:
    """An author has one vote on a message, and what it said before is shown with it."""
    first = submitted(cli, "s", "up", "--author", "ann", "--vote")
    assert submitted(cli, "s", "down", "changed my mind", "--author", "ann", "--vote") == first
    assert cli("stats", "--json").json["negative"] == 1
    shown = cli("show", first)
    assert "What it said before" in shown.out
    assert "changed my mind" in shown.out
    refused = cli("submit", "s", "up", "--vote")
    assert (refused.code, refused.err) == (2, "Error: a vote belongs to somebody; say to whom with --author\n")


def test_a_refusal_names_every_reason(cli: Any) -> None:
    """People read one short line, programs a list of violations."""
    for_people = cli("submit", "s", "sideways", "x" * 1001)
    assert (for_people.code, for_people.out) == (3, "")
    assert for_people.err == (
        "Error: Invalid rating: sideways. Must be 'up', 'down', or None; "
        "Comment too long: 1001 characters (max: 1000)\n"
    )
    for_programs = cli("submit", "s", "down", "--json")
    message = "Please provide a comment when giving negative feedback"
    assert for_programs.error == {
        "error": "FeedbackRejected",
        "message": message,
        "violations": [{"field": "comment", "code": "required", "message": message}],
    }


def test_lists_go_newest_first_page_by_page(cli: Any) -> None:
    """Following ``next`` gives everything once."""
    ids = [submitted(cli, f"s{number}", "up") for number in range(5)]
    seen: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        page = cli("list", "--limit", "2", *after, "--json").json
        seen += [one["id"] for one in page["feedback"]]
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert seen == ids[::-1]
    assert "There is more: add --after " in cli("list", "--limit", "2").out
    assert "There is more" not in cli("list").out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("--session", "s1"), 1),
        (("--agent", "a"), 1),
        (("--message", "m"), 1),
        (("--author", "ann"), 1),
        (("--rating", "up"), 1),
        (("--tag", "x"), 1),
        (("--context", "tier=gold"), 1),
        (("--context", "tier=tin"), 0),
        (("--since", "2020-01-01"), 2),
        (("--until", "2020-01-01T00:00:00+02:00"), 0),
        (("--status", "pending"), 0),
        (("--status", "any", "--withdrawn"), 2),
    ],
)
def test_filters_choose_alike_everywhere(cli: Any, filters: tuple[str, ...], found: int) -> None:
    """Lists, figures and exports mean the same by a filter."""
    parts = ("--agent", "a", "--message", "m", "--author", "ann", "--tag", "x", "--context", "tier=gold")
    submitted(cli, "s1", "up", *parts)
    submitted(cli, "s2", "down", "slow")
    assert len(cli("list", *filters, "--json").json["feedback"]) == found
    assert cli("stats", *filters, "--json").json["total_feedbacks"] == found
    assert len(cli("export", *filters).out.splitlines()) == found
    assert sum(point["total_feedbacks"] for point in cli("trends", *filters, "--json").json["points"]) == found


@pytest.mark.usefixtures("in_kathmandu")
def test_a_time_without_a_zone_is_in_utc(cli: Any) -> None:
    """In any zone of the machine, ``--since`` and ``--until`` without a zone mean UTC."""
    with harken.connect(URL, clock=lambda: NOON) as hk:
        hk.submit("s", "up")
    since, until = "2026-03-04T12:00", "2026-03-04T12:01"
    assert len(cli("list", "--since", since, "--until", until, "--json").json["feedback"]) == 1
    assert cli("list", "--since", until, "--json").json["feedback"] == []


def test_withdrawn_feedback_is_listed_on_request(cli: Any) -> None:
    """What its author took back is out of sight, and there for who asks."""
    feedback_id = submitted(cli, "s", "up")
    with harken.connect(URL) as hk:
        hk.collection.withdraw(hk.application, feedback_id)
    assert cli("list", "--json").json["feedback"] == []
    assert "(withdrawn)" in cli("list", "--withdrawn").out


def test_moderation_goes_forth_and_back(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was held waits in the queue; decisions say who and why, and can be undone."""
    monkeypatch.setenv("HARKEN_SPAM", "hold")
    held = cli("submit", "s", "up", "click here")
    feedback_id = held.out.split()[0]
    assert held.out == f"{feedback_id}  kept, pending\nHeld: Spam detected\n"
    assert [one["id"] for one in cli("moderate", "queue", "--json").json["feedback"]] == [feedback_id]
    assert "(pending)" in cli("moderate", "queue").out
    approved = cli("moderate", "approve", feedback_id, "--moderator", "mo", "--reason", "fine", "--json").json
    assert (approved["status"], approved["moderation"]["moderator"]) == ("approved", "mo")
    again = cli("moderate", "approve", feedback_id, "--json")
    assert (again.code, again.error["error"]) == (3, "InvalidTransition")
    assert cli("moderate", "undo", feedback_id).out == f"{feedback_id} is pending now\n"
    assert cli("moderate", "reject", feedback_id).code == 0
    assert cli("moderate", "hold", feedback_id, "--json").json["status"] == "pending"


def test_a_second_moderator_is_refused(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue shows versions; a decision on one that is no longer there says who decided what, and when."""
    monkeypatch.setenv("HARKEN_SPAM", "hold")
    feedback_id = cli("submit", "s", "up", "click here", "--json").json["id"]
    assert cli("moderate", "queue").out.splitlines()[0].endswith("  s  version 1")
    assert [one["version"] for one in cli("moderate", "queue", "--json").json["feedback"]] == [1]
    mo = cli("moderate", "approve", feedback_id, "--moderator", "mo", "--version", "1", "--json").json
    for command in ("reject", "approve", "hold", "undo"):
        late = cli("moderate", command, feedback_id, "--moderator", "bo", "--version", "1")
        assert late.code == 3
        assert "is approved (decided by 'mo' at 20" in late.err
    told = cli("moderate", "reject", feedback_id, "--version", "1", "--json").error
    decided_at = mo["moderation"]["decided_at"]
    assert told["error"] == "DecisionConflict"
    assert told["current"] == {"version": 2, "status": "approved", "moderator": "mo", "decided_at": decided_at}
    assert cli("moderate", "reject", feedback_id, "--moderator", "bo").code == 3
    assert cli("moderate", "undo", feedback_id, "--moderator", "bo").code == 3
    assert cli("moderate", "reject", feedback_id, "--moderator", "bo", "--version", "2").code == 0
    assert cli("moderate", "undo", feedback_id, "--version", "3").code == 0


@pytest.mark.parametrize("command", [("show",), ("moderate", "approve"), ("moderate", "undo"), ("erase", "--yes")])
def test_what_is_not_there_is_not_found(cli: Any, command: tuple[str, ...]) -> None:
    """An unknown id ends with a code of its own."""
    ran = cli(*command, "nope", "--json")
    assert (ran.code, ran.out, ran.error["error"]) == (4, "", "FeedbackNotFound")


def test_erasing_a_session_leaves_nothing(cli: Any) -> None:
    """Feedback in any state goes, and what was known of the session with it; other sessions stay."""
    pending = submitted(cli, "s", "up")
    cli("moderate", "hold", pending)
    submitted(cli, "s", "up")
    submitted(cli, "t", "up")
    with harken.connect(URL) as hk:
        hk.sessions.update(hk.application, "s", {"user": "ann"})
        hk.conversations.append(hk.application, "s", "helper", 0, {"text": "My card is 4000"})
        hk.conversations.put_agent(hk.application, "s", "helper", {"card": "4000"})
    erased = cli("erase", "--session", "s", "--yes", "--json").json
    removed = {"feedback": 2, "messages": 1, "agents": 1, "metadata": 1, "alerts": 0, "deliveries": 0}
    assert erased == {"erased": 2, "removed": removed, "kept_sessions": []}
    with harken.connect(URL) as hk:
        assert hk.sessions.get(hk.application, "s") == {}
        assert hk.conversations.agents(hk.application, "s") == {}
        assert hk.conversations.count(hk.application, "s") == 0
        assert [one.session_id for one in hk.collection.stream(hk.query().in_any_state())] == ["t"]


def test_erasing_asks_first(cli: Any) -> None:
    """Without --yes it says how much would go; anything but yes erases nothing, also no answer at all."""
    submitted(cli, "s", "up", "--author", "ann")
    for answer in ("n\n", ""):
        ran = cli("erase", "--author", "ann", stdin=answer)
        assert (ran.code, ran.out) == (1, "")
        assert "Erase 1 feedback of ann, and the sessions that are theirs alone, permanently?" in ran.err
        assert "Nothing was done" in ran.err
    assert cli("erase", "--author", "ann", stdin="y\n").out == "Erased 1 feedback\n"
    kept = submitted(cli, "s", "up")
    assert "Erase 1 feedback permanently?" in cli("erase", kept, stdin="n\n").err


def test_a_session_without_feedback_is_erased(cli: Any) -> None:
    """What was only said to an agent, or noted about a session, goes too, and it is said how much that was."""
    with harken.connect(URL) as hk:
        hk.sessions.update(hk.application, "s", {"user": "ann", "tier": "pro"})
        for number in range(3):
            hk.conversations.append(hk.application, "s", "helper", number, {"text": "My card is 4000"})
    ran = cli("erase", "--session", "s", stdin="y\n")
    assert "Erase 0 feedback, the conversation and the metadata of session s permanently?" in ran.err
    assert ran.out == "Erased 0 feedback, 3 messages and 2 metadata keys\n"
    again = cli("erase", "--session", "s", "--yes")
    assert (again.code, again.out) == (4, "Erased 0 feedback\n")


def test_erasing_everything_takes_more_than_a_slip(cli: Any) -> None:
    """Without a condition nothing is erased."""
    submitted(cli, "s", "up")
    ran = cli("erase", "--yes")
    assert (ran.code, ran.err) == (2, "Error: say what to erase: an ID, --session or --author\n")
    assert cli("stats", "--json").json["total_feedbacks"] == 1


@pytest.mark.parametrize("option", ["--session", "--author"])
def test_an_empty_name_erases_nothing(cli: Any, option: str) -> None:
    """A variable of the shell that is not set must not look like a success."""
    submitted(cli, "s", "up")
    ran = cli("erase", option, "", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert option in ran.err


def test_sessions_that_were_kept_are_named(cli: Any) -> None:
    """Where others gave feedback, too, it is said how to erase the rest."""
    for author in ("ann", "bob"):
        submitted(cli, "s", "up", "--author", author)
    ran = cli("erase", "--author", "ann", "--yes")
    assert "Others gave feedback in session s, too" in ran.out
    assert "erase --session s" in ran.out.replace("\n", " ")
    assert cli("erase", "--author", "nobody", "--yes").code == 4


def test_conditions_of_an_erasure_must_all_hold(cli: Any) -> None:
    """An author's words in one session go, the session's metadata and the others' words stay."""
    submitted(cli, "s", "up", "--author", "ann")
    submitted(cli, "s", "up", "--author", "bob")
    with harken.connect(URL) as hk:
        hk.sessions.update(hk.application, "s", {"k": 1})
    assert cli("erase", "--session", "s", "--author", "ann", "--yes", "--json").json["erased"] == 1
    with harken.connect(URL) as hk:
        assert hk.sessions.get(hk.application, "s") == {"k": 1}


TRICKS = "[bold]x[/bold] :smile: \x1b[2J\x07 \u202eevil\u2069 \x9b1m \u2028z"


def test_a_comment_plays_no_tricks_on_the_terminal(cli: Any, tmp_path: Path) -> None:
    """Markup is text, and what a terminal would obey is spelt out: in lists, details, tables and errors."""
    tag = "[red]tag[/red]"
    ran = [cli("submit", "s", "down", TRICKS, "--author", "[i]a", "--tag", tag, "--vote", "--agent", "\u202ea")]
    feedback_id = ran[0].out.split()[0]
    cli("submit", "s", "up", "--author", "[i]a", "--vote")
    ran += [cli("list"), cli("show", feedback_id), cli("stats", "--by", "agent"), cli("stats", "--by", "tag")]
    ran += [cli("show", TRICKS), cli("themes", "--keyword", "[bold]")]
    everything = "".join(one.out + one.err for one in ran)
    assert not any(trick in everything for trick in ("\x1b", "\x07", "\u202e", "\u2069", "\x9b", "\u2028"))
    assert r"[bold]x[/bold] :smile: \x1b[2J\x07 \u202eevil\u2069 \x9b1m \u2028z" in everything
    assert tag in everything


def test_json_is_plain_ascii(cli: Any) -> None:
    """A JSON document passes any terminal and pipe unharmed, and says exactly what was said."""
    submitted(cli, "s", "up", "😡 \u202e\x1b")
    ran = cli("list", "--json")
    assert ran.out.isascii()
    assert ran.json["feedback"][0]["comment"] == "😡 \u202e\x1b"


def test_applications_are_kept_apart(cli: Any) -> None:
    """--application chooses whose feedback a command is about."""
    cli("--application", "other", "submit", "s", "up")
    assert cli("stats", "--json").json["total_feedbacks"] == 0
    assert cli("--application", "other", "stats", "--json").json["total_feedbacks"] == 1


def test_the_storage_comes_from_the_environment_too(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without --storage, HARKEN_STORAGE and then harken.toml choose the storage."""
    (tmp_path / "harken.toml").write_text('storage = "sqlite:///from-toml.db"\n')
    cli("submit", "s", "up", storage=None)
    assert (tmp_path / "from-toml.db").exists()
    monkeypatch.setenv("HARKEN_STORAGE", "sqlite:///from-environment.db")
    cli("submit", "s", "up", storage=None)
    assert (tmp_path / "from-environment.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("bogus",), 2),
        (("list", "--bogus"), 2),
        (("list", "--since", "soon"), 2),
        (("list", "--status", "fine"), 2),
        (("list", "--context", "tier"), 2),
        (("show",), 2),
        (("stats", "--by", "slot"), 2),
        (("stats", "--by", "colour"), 3),
        (("list", "--limit", "0"), 3),
        (("list", "--after", "nonsense"), 3),
        (("list", "--rating", "sideways"), 3),
        (("trends", "--zone", "Mars/Olympus"), 3),
        (("--storage", "nope://x", "list"), 2),
        (("--storage", "nope", "list"), 2),
        (("--application", " ", "list"), 2),
        (("--storage", "sqlite:////nowhere/at/all.db", "list"), 5),
    ],
)
def test_each_kind_of_trouble_has_its_code(cli: Any, arguments: tuple[str, ...], code: int) -> None:
    """Scripts can tell what went wrong; people get a line without a traceback, programs a JSON object."""
    for_people = cli(*arguments)
    assert (for_people.code, for_people.out) == (code, "")
    assert "Error" in for_people.err
    assert "Traceback" not in for_people.err
    for_programs = cli(*arguments, "--json")
    assert (for_programs.code, for_programs.out) == (code, "")
    assert for_programs.error.keys() == {"error", "message", "violations"}


def test_a_comment_may_look_like_an_option(cli: Any) -> None:
    """What stands behind ``--`` is what people say."""
    assert cli("submit", "s", "up", "--", "--json").out.endswith("kept, approved\n")


def test_help_tells_the_exit_codes(cli: Any) -> None:
    """Every code is documented, and asking for help is no error."""
    ran = cli("--help")
    assert ran.code == 0
    assert "4 not found; 5 storage trouble" in " ".join(ran.out.split())


def test_the_version_is_told(cli: Any) -> None:
    """``harken --version`` says which Harken this is."""
    assert cli("--version").out == "harken 0.1.0\n"


def test_no_command_shows_what_there_is(cli: Any) -> None:
    """Typed alone, ``harken`` shows its commands."""
    ran = cli(storage=None)
    assert "submit" in ran.out + ran.err


def test_every_command_can_speak_json(cli: Any) -> None:
    """Each command that shows something gives exactly one JSON document."""
    feedback_id = submitted(cli, "s", "up")
    for command in (
        ("list",),
        ("show", feedback_id),
        ("stats",),
        ("stats", "--by", "agent"),
        ("trends",),
        ("themes",),
        ("moderate", "queue"),
        ("moderate", "hold", feedback_id),
        ("moderate", "undo", feedback_id),
        ("export", "out.csv"),
        ("import", "out.csv"),
        ("doctor",),
        ("demo",),
        ("erase", feedback_id, "--yes"),
    ):
        ran = cli(*command, "--json")
        assert (ran.code, ran.err) == (0, ""), command
        json.loads(ran.out)


@pytest.mark.parametrize("json_", [(), ("--json",)])
@pytest.mark.parametrize("storage", [URL, "memory://"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--session", "\udcff"),
        ("list", "--context", "tier=\udcff"),
        ("stats", "--tag", "\udcff"),
        ("show", "\udcff"),
        ("erase", "\udcff", "--yes"),
        ("erase", "--session", "\udcff", "--yes"),
        ("submit", "\udcff", "up"),
    ],
)
def test_arguments_that_are_no_utf8_end_in_one_clean_error(
    cli: Any, arguments: tuple[str, ...], storage: str, json_: tuple[str, ...]
) -> None:
    """Bytes that are no text, which Python passes on as lone surrogates, are refused or not found, in one line."""
    ran = cli(*arguments, *json_, storage=storage)
    assert (ran.code in (2, 3, 4), ran.out, ran.err.count("\n")) == (True, "", 1)
    assert ran.err.isascii()
    assert ran.err.startswith("{" if json_ else "Error: ")
