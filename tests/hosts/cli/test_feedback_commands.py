"""The commands submit, list, show, moderate and erase: their output and exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harken
from harken_adapters.hosts.http.wire import records
from support import NOON

URL = "sqlite:///feedback.db"


def submitted(cli: Any, *arguments: str) -> str:
    """Submit feedback and return its id."""
    return str(cli("submit", *arguments, "--json").json["id"])


def test_submit_stores_all_fields(cli: Any) -> None:
    """``show`` returns every field that was submitted."""
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
        "version": 1,
        "revisions": [],
    }
    assert shown.items() >= expected.items()
    assert "key           k\n" in cli("show", receipt.json["id"]).out


@pytest.mark.parametrize("word", ["none", "neutral"])
def test_neutral_rating(cli: Any, word: str) -> None:
    """Both words for neutral work in submissions and in filters."""
    submitted(cli, "s", word)
    submitted(cli, "s", "up")
    [feedback] = cli("list", "--rating", word, "--json").json["feedbacks"]
    assert feedback["rating"] is None


def test_the_same_key_is_a_duplicate(cli: Any) -> None:
    """A repeated submission with the same key is stored once and reported as a duplicate."""
    first = cli("submit", "s", "up", "--key", "k", "--json").json
    again = cli("submit", "s", "up", "--key", "k", "--json").json
    assert again == {**first, "duplicate": True}
    assert "duplicate" in cli("submit", "s", "up", "--key", "k").out
    conflict = cli("submit", "s", "down", "no", "--key", "k", "--json")
    assert (conflict.code, conflict.out, conflict.error["error"]) == (3, "", "IdempotencyConflict")


def test_a_vote_replaces_the_earlier_one(cli: Any) -> None:
    """An author has one vote per message; ``show`` also prints its earlier versions."""
    first = submitted(cli, "s", "up", "--author", "ann", "--vote")
    assert submitted(cli, "s", "down", "changed my mind", "--author", "ann", "--vote") == first
    assert cli("stats", "--json").json["negative"] == 1
    shown = cli("show", first)
    assert "Earlier versions" in shown.out
    assert "changed my mind" in shown.out
    refused = cli("submit", "s", "up", "--vote")
    assert (refused.code, refused.err) == (2, "Error: A vote needs an author; add --author\n")


def test_a_rejection_has_every_reason(cli: Any) -> None:
    """The text output has one line, the JSON output a list of violations."""
    for_people = cli("submit", "s", "down", "x" * 1001, "--tag", "")
    assert (for_people.code, for_people.out) == (3, "")
    assert for_people.err == ("Error: tag must not be empty; Comment too long: 1001 characters (max: 1000)\n")
    for_programs = cli("submit", "s", "down", "--json")
    message = "Please provide a comment when giving negative feedback"
    assert for_programs.error == {
        "error": "FeedbackRejected",
        "message": message,
        "violations": [{"field": "comment", "code": "required", "message": message}],
    }


def test_list_pages_are_newest_first(cli: Any) -> None:
    """Following ``next`` returns each entry once."""
    ids = [submitted(cli, f"s{number}", "up") for number in range(5)]
    seen: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        page = cli("list", "--limit", "2", *after, "--json").json
        seen += [one["id"] for one in page["feedbacks"]]
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert seen == ids[::-1]
    assert "More results: add --after " in cli("list", "--limit", "2").out
    assert "More results" not in cli("list").out


class Unrestricted:
    """A reader of the HTTP API who may see all feedback."""

    def may_see(self, agent_id: str | None) -> bool:
        """Always true."""
        return True

    def redact(self, feedback: harken.Feedback) -> harken.Feedback:
        """All of it."""
        return feedback

    seen = redact


def test_json_has_the_records_of_the_http_api(cli: Any) -> None:
    """``list --json`` prints the page of the HTTP API, and ``show --json`` its record."""
    feedback_id = submitted(cli, "s", "down", "Too slow", "--tag", "x", "--key", "k")
    submitted(cli, "s", "up")
    reader: Any = Unrestricted()
    with harken.connect(URL) as hk:
        page = hk.feedback(limit=1)
        feedback = hk.collection.get(hk.application, feedback_id)
    assert cli("list", "--limit", "1", "--json").json == records.visible_page(reader, page)
    assert cli("show", feedback_id, "--json").json == records.visible_record(reader, feedback)


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
        (("--text", "Slow"), 1),
        (("--text", "slower"), 0),
        (("--agent", "a", "--agent", "nobody"), 1),
        (("--rating", "up", "--rating", "down"), 2),
        (("--tag", "x", "--tag", "y"), 1),
        (("--context", "tier=gold", "--context", "tier=tin"), 1),
        (("--with-comment",), 1),
        (("--without-comment", "--agent", "a"), 1),
        (("--context", "tier=gold"), 1),
        (("--context", "tier=tin"), 0),
        (("--since", "2020-01-01"), 2),
        (("--until", "2020-01-01T00:00:00+02:00"), 0),
        (("--status", "pending"), 0),
        (("--status", "any", "--withdrawn"), 2),
    ],
)
def test_filters_have_the_same_meaning_everywhere(cli: Any, filters: tuple[str, ...], found: int) -> None:
    """A filter selects the same feedback in lists, statistics and exports."""
    parts = ("--agent", "a", "--message", "m", "--author", "ann", "--tag", "x", "--context", "tier=gold")
    submitted(cli, "s1", "up", *parts)
    submitted(cli, "s2", "down", "slow")
    assert len(cli("list", *filters, "--json").json["feedbacks"]) == found
    assert cli("stats", *filters, "--json").json["total_feedbacks"] == found
    assert len(cli("export", *filters).out.splitlines()) == found
    assert sum(point["total_feedbacks"] for point in cli("trends", *filters, "--json").json["points"]) == found


@pytest.mark.usefixtures("in_kathmandu")
def test_a_time_without_a_zone_is_in_utc(cli: Any) -> None:
    """``--since`` and ``--until`` without a zone are UTC, independent of the local time zone."""
    with harken.connect(URL, clock=lambda: NOON) as hk:
        hk.submit("s", "up")
    since, until = "2026-03-04T12:00", "2026-03-04T12:01"
    assert len(cli("list", "--since", since, "--until", until, "--json").json["feedbacks"]) == 1
    assert cli("list", "--since", until, "--json").json["feedbacks"] == []


def test_withdrawn_feedback_is_listed_on_request(cli: Any) -> None:
    """Withdrawn feedback is listed only with --withdrawn."""
    feedback_id = submitted(cli, "s", "up")
    with harken.connect(URL) as hk:
        hk.collection.withdraw(hk.application, feedback_id)
    assert cli("list", "--json").json["feedbacks"] == []
    assert "(withdrawn)" in cli("list", "--withdrawn").out


def test_moderation_decisions_can_be_undone(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held feedback is in the queue; a decision records the moderator and the reason, and can be undone."""
    monkeypatch.setenv("HARKEN_SPAM", "hold")
    held = cli("submit", "s", "up", "click here")
    feedback_id = held.out.split()[0]
    assert held.out == f"{feedback_id}  stored, pending\nHeld for moderation: Spam detected\n"
    assert [one["id"] for one in cli("moderate", "queue", "--json").json["feedbacks"]] == [feedback_id]
    assert "(pending)" in cli("moderate", "queue").out
    approved = cli("moderate", "approve", feedback_id, "--moderator", "mo", "--reason", "fine", "--json").json
    assert (approved["status"], approved["moderation"]["moderator"]) == ("approved", "mo")
    again = cli("moderate", "approve", feedback_id, "--json")
    assert (again.code, again.error["error"]) == (3, "InvalidTransition")
    assert cli("moderate", "undo", feedback_id).out == f"{feedback_id} is now pending\n"
    assert cli("moderate", "reject", feedback_id).code == 0
    assert cli("moderate", "hold", feedback_id, "--json").json["status"] == "pending"


def test_a_decision_on_an_old_version_is_refused(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue shows versions; the error shows who decided meanwhile, what and when."""
    monkeypatch.setenv("HARKEN_SPAM", "hold")
    feedback_id = cli("submit", "s", "up", "click here", "--json").json["id"]
    assert cli("moderate", "queue").out.splitlines()[0].endswith("  s  version 1")
    assert [one["version"] for one in cli("moderate", "queue", "--json").json["feedbacks"]] == [1]
    mo = cli("moderate", "approve", feedback_id, "--moderator", "mo", "--version", "1", "--json").json
    for command in ("reject", "approve", "hold", "undo"):
        late = cli("moderate", command, feedback_id, "--moderator", "bo", "--version", "1")
        assert late.code == 3
        assert "is approved (decided by 'mo' at 20" in late.err
    conflict = cli("moderate", "reject", feedback_id, "--version", "1", "--json").error
    decided_at = mo["moderation"]["decided_at"]
    assert conflict["error"] == "DecisionConflict"
    assert conflict["current"] == {"version": 2, "status": "approved", "moderator": "mo", "decided_at": decided_at}
    assert cli("moderate", "reject", feedback_id, "--moderator", "bo").code == 3
    assert cli("moderate", "undo", feedback_id, "--moderator", "bo").code == 3
    assert cli("moderate", "reject", feedback_id, "--moderator", "bo", "--version", "2").code == 0
    assert cli("moderate", "undo", feedback_id, "--version", "3").code == 0


@pytest.mark.parametrize("command", [("show",), ("moderate", "approve"), ("moderate", "undo"), ("erase", "--yes")])
@pytest.mark.usefixtures("empty_storage")
def test_an_unknown_id_is_not_found(cli: Any, command: tuple[str, ...]) -> None:
    """An unknown id has exit code 4."""
    ran = cli(*command, "nope", "--json")
    assert (ran.code, ran.out, ran.error["error"]) == (4, "", "FeedbackNotFound")


def test_erasing_a_session_leaves_nothing(cli: Any) -> None:
    """Erases feedback in any state, the conversation and the metadata of the session, but no other session."""
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
    """Without --yes the command asks for confirmation; any answer except yes, and no answer, erases nothing."""
    submitted(cli, "s", "up", "--author", "ann")
    for answer in ("n\n", ""):
        ran = cli("erase", "--author", "ann", stdin=answer)
        assert (ran.code, ran.out) == (1, "")
        assert "Erase 1 feedback entry by ann, and the sessions that only this author rated, permanently?" in ran.err
        assert "Aborted; nothing was changed" in ran.err
    assert cli("erase", "--author", "ann", stdin="y\n").out == "Erased 1 feedback entry\n"
    kept = submitted(cli, "s", "up")
    assert "Erase 1 feedback entry permanently?" in cli("erase", kept, stdin="n\n").err


def test_a_session_without_feedback_is_erased(cli: Any) -> None:
    """Conversations and metadata are erased too, and counted in the output."""
    with harken.connect(URL) as hk:
        hk.sessions.update(hk.application, "s", {"user": "ann", "tier": "pro"})
        for number in range(3):
            hk.conversations.append(hk.application, "s", "helper", number, {"text": "My card is 4000"})
    ran = cli("erase", "--session", "s", stdin="y\n")
    assert "Erase 0 feedback entries, the conversation and the metadata of session s permanently?" in ran.err
    assert ran.out == "Erased 0 feedback entries, 3 messages and 2 metadata keys\n"
    again = cli("erase", "--session", "s", "--yes")
    assert (again.code, again.out) == (4, "Erased 0 feedback entries\n")


def test_erase_needs_a_condition(cli: Any) -> None:
    """Without a condition nothing is erased."""
    submitted(cli, "s", "up")
    ran = cli("erase", "--yes")
    expected = "Specify what to erase: an ID, --session, --author, --before, --import or --application"
    assert (ran.code, ran.err) == (2, f"Error: {expected}\n")
    assert cli("stats", "--json").json["total_feedbacks"] == 1


@pytest.mark.parametrize("option", ["--session", "--author"])
def test_an_empty_name_erases_nothing(cli: Any, option: str) -> None:
    """An empty value, such as of an unset shell variable, is an error."""
    submitted(cli, "s", "up")
    ran = cli("erase", option, "", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert option in ran.err


def test_kept_sessions_are_listed(cli: Any) -> None:
    """If other authors rated the session, the output has the command that erases the rest."""
    for author in ("ann", "bob"):
        submitted(cli, "s", "up", "--author", author)
    ran = cli("erase", "--author", "ann", "--yes")
    assert "Other authors gave feedback on session s" in ran.out
    assert "erase --session s" in ran.out.replace("\n", " ")
    assert cli("erase", "--author", "nobody", "--yes").code == 4


def test_erase_conditions_are_combined_with_and(cli: Any) -> None:
    """Erases the feedback of one author in one session, and keeps other authors' feedback and the metadata."""
    submitted(cli, "s", "up", "--author", "ann")
    submitted(cli, "s", "up", "--author", "bob")
    with harken.connect(URL) as hk:
        hk.sessions.update(hk.application, "s", {"k": 1})
    assert cli("erase", "--session", "s", "--author", "ann", "--yes", "--json").json["erased"] == 1
    with harken.connect(URL) as hk:
        assert hk.sessions.get(hk.application, "s") == {"k": 1}


UNSAFE = "[bold]x[/bold] :smile: \x1b[2J\x07 \u202eevil\u2069 \x9b1m \u2028z"


def test_terminal_control_characters_are_escaped(cli: Any, tmp_path: Path) -> None:
    """Markup is printed as text and control characters are escaped, in lists, details, tables and errors."""
    tag = "[red]tag[/red]"
    ran = [cli("submit", "s", "down", UNSAFE, "--author", "[i]a", "--tag", tag, "--vote", "--agent", "\u202ea")]
    feedback_id = ran[0].out.split()[0]
    cli("submit", "s", "up", "--author", "[i]a", "--vote")
    ran += [cli("list"), cli("show", feedback_id), cli("stats", "--by", "agent"), cli("stats", "--by", "tag")]
    ran += [cli("show", UNSAFE), cli("themes", "--keyword", "[bold]")]
    everything = "".join(one.out + one.err for one in ran)
    assert not any(character in everything for character in ("\x1b", "\x07", "\u202e", "\u2069", "\x9b", "\u2028"))
    assert r"[bold]x[/bold] :smile: \x1b[2J\x07 \u202eevil\u2069 \x9b1m \u2028z" in everything
    assert tag in everything


def test_json_is_plain_ascii(cli: Any) -> None:
    """JSON output is ASCII, and decodes to the exact comment."""
    submitted(cli, "s", "up", "😡 \u202e\x1b")
    ran = cli("list", "--json")
    assert ran.out.isascii()
    assert ran.json["feedbacks"][0]["comment"] == "😡 \u202e\x1b"


def test_applications_are_separate(cli: Any) -> None:
    """--application selects the application of a command."""
    cli("--application", "other", "submit", "s", "up")
    assert cli("stats", "--json").json["total_feedbacks"] == 0
    assert cli("--application", "other", "stats", "--json").json["total_feedbacks"] == 1


def test_storage_settings(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without --storage, the storage comes from HARKEN_STORAGE, then from harken.toml."""
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
        (("stats", "--by", "colour"), 2),
        (("list", "--limit", "0"), 2),
        (("list", "--limit", "many"), 2),
        (("list", "--after", "nonsense"), 2),
        (("list", "--rating", "sideways"), 2),
        (("submit", "s", "sideways"), 2),
        (("trends", "--zone", "Mars/Olympus"), 2),
        (("keys", "create", "--scope", "read", "--agent", ""), 2),
        (("submit", "s", "down"), 3),
        (("--storage", "nope://x", "list"), 2),
        (("--storage", "nope", "list"), 2),
        (("--application", " ", "list"), 2),
        (("--storage", "sqlite:////nowhere/at/all.db", "list"), 5),
    ],
)
@pytest.mark.usefixtures("empty_storage")
def test_each_kind_of_error_has_an_exit_code(cli: Any, arguments: tuple[str, ...], code: int) -> None:
    """Errors are one line without a traceback, or one JSON object."""
    for_people = cli(*arguments)
    assert (for_people.code, for_people.out) == (code, "")
    assert "Error" in for_people.err
    assert "Traceback" not in for_people.err
    for_programs = cli(*arguments, "--json")
    assert (for_programs.code, for_programs.out) == (code, "")
    assert for_programs.error.keys() == {"error", "message", "violations"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--rating", "good"), "Error: Invalid rating 'good'; expected up, down or neutral"),
        (("submit", "s", "None"), "Error: Invalid rating 'None'; expected up, down or neutral"),
        (("list", "--limit", "abc"), "Error: Invalid value for '--limit': 'abc' is not an integer"),
        (
            ("moderate", "approve", "x", "--version", "0"),
            "Error: Invalid value for '--version': must be at least 1, got 0",
        ),
        (
            ("list", "--status", "fine"),
            "Error: Invalid value for '--status': 'fine' is not one of 'approved', 'pending', 'rejected', 'any'.",
        ),
        (
            ("moderate", "queue", "--order", "oldst"),
            "Error: Invalid value for '--order': 'oldst' (did you mean 'oldest'?) is not one of 'newest', 'oldest'.",
        ),
        (
            ("alerts", "backtest", "--by", "agnet"),
            "Error: --by must be session, agent or application, got 'agnet' (did you mean 'agent'?)",
        ),
        (
            ("stats", "--by", "taste"),
            "Error: Cannot group by 'taste'; expected agent, session, tag or context.NAME",
        ),
        (
            ("stats", "--by", "agnet"),
            "Error: Cannot group by 'agnet' (did you mean 'agent'?); expected agent, session, tag or context.NAME",
        ),
        (("list", "--sinc", "2026-01-01"), "Error: No such option: --sinc (did you mean '--since'?)"),
        (("list", "--zzz"), "Error: No such option: --zzz"),
        (
            ("stats", "--limit", "3"),
            "Error: --sort, --reverse and --limit are for groups; add --by, such as --by agent",
        ),
        (
            ("list", "--with-comment", "--without-comment"),
            "Error: --with-comment and --without-comment exclude each other; leave one out",
        ),
    ],
)
@pytest.mark.usefixtures("empty_storage")
def test_usage_errors_are_for_people(cli: Any, arguments: tuple[str, ...], message: str) -> None:
    """A usage error says what was expected, in the terms of the command line."""
    for_people = cli(*arguments)
    assert (for_people.code, for_people.out) == (2, "")
    assert for_people.err.endswith(f"{message}\n")
    for_programs = cli(*arguments, "--json")
    assert (for_programs.code, f"Error: {for_programs.error['message']}") == (2, message)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("list",), "No feedback yet"),
        (("list", "--rating", "up"), "No feedback yet"),
        (("moderate", "queue"), "No feedback yet"),
        (("applications",), "No feedback yet"),
        (("keys", "list"), "No keys"),
    ],
)
@pytest.mark.usefixtures("empty_storage")
def test_an_empty_list_says_so(cli: Any, command: tuple[str, ...], message: str) -> None:
    """A command that has nothing to list prints a line, and its JSON an empty list."""
    assert cli(*command).out == f"{message}\n"
    assert next(iter(cli(*command, "--json").json.values())) == []


def test_help_shows_no_type_for_flags(cli: Any) -> None:
    """Options without a value have no type, and choices are not split at the end of a line."""
    ran = cli("trends", "--help")
    assert "<bool>" not in ran.out
    assert "hour-of-day or weekday" in " ".join(ran.out.replace("│", " ").split())


def test_the_command_line_is_the_main_module(tmp_path: Path) -> None:
    """``python -m harken`` runs the same commands."""
    done = subprocess.run(
        [sys.executable, "-m", "harken", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "harken 0.1.0\n"


def test_a_comment_may_look_like_an_option(cli: Any) -> None:
    """Arguments that follow ``--`` are not options."""
    assert cli("submit", "s", "up", "--", "--json").out.endswith("stored, approved\n")


def test_help_lists_the_exit_codes(cli: Any) -> None:
    """``--help`` documents every exit code, and exits with 0."""
    ran = cli("--help")
    assert ran.code == 0
    assert "4 not found; 5 storage failure" in " ".join(ran.out.split())


def test_version(cli: Any) -> None:
    """``harken --version`` prints the version."""
    assert cli("--version").out == "harken 0.1.0\n"


def test_no_command_shows_help(cli: Any) -> None:
    """``harken`` without a command lists the commands."""
    ran = cli(storage=None)
    assert "submit" in ran.out + ran.err


def test_every_command_can_print_json(cli: Any) -> None:
    """With --json each command prints exactly one JSON document."""
    feedback_id = submitted(cli, "s", "up")
    for command in (
        ("list",),
        ("show", feedback_id),
        ("stats",),
        ("stats", "--by", "agent"),
        ("trends",),
        ("themes",),
        ("sentiment",),
        ("sentiment", "--evaluate"),
        ("list", "--sentiment"),
        ("moderate", "queue"),
        ("moderate", "evaluate"),
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
@pytest.mark.usefixtures("empty_storage")
def test_arguments_that_are_not_utf8(
    cli: Any, arguments: tuple[str, ...], storage: str, json_: tuple[str, ...]
) -> None:
    """Invalid UTF-8, which Python decodes to lone surrogates, is rejected or not found, with a one-line error."""
    ran = cli(*arguments, *json_, storage=storage)
    assert (ran.code in (2, 3, 4), ran.out, ran.err.count("\n")) == (True, "", 1)
    assert ran.err.isascii()
    assert ran.err.startswith("{" if json_ else "Error: ")


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("show", "x"),
        ("stats",),
        ("stats", "--by", "agent"),
        ("trends",),
        ("themes",),
        ("export", "all.jsonl"),
        ("erase", "--author", "ann", "--yes"),
        ("rebuild",),
        ("moderate", "queue"),
        ("moderate", "approve", "x"),
        ("moderate", "undo", "x"),
        ("alerts", "list"),
        ("alerts", "show", "x"),
        ("alerts", "backtest"),
        ("channels", "list"),
        ("routes", "list"),
        ("routes", "remove", "x"),
        ("keys", "list"),
        ("keys", "revoke", "x"),
        ("deliveries", "list"),
        ("deliveries", "show", "x"),
        ("deliveries", "replay", "--all"),
        ("deliveries", "move", "one", "other"),
        ("deliveries", "bury", "one"),
    ],
    ids=" ".join,
)
def test_commands_that_read_do_not_create_a_storage(cli: Any, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A mistyped path is an error that says how to continue. It is not an empty storage."""
    ran = cli(*command, storage="sqlite:///tpyo.db")
    assert (ran.code, ran.out) == (5, "")
    assert "tpyo.db does not exist; check the path, or submit feedback first" in " ".join(ran.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_memory_storage_always_exists(cli: Any) -> None:
    """A command that reads it finds nothing."""
    assert cli("stats", "--json", storage="memory://").code == 0


def test_a_log_without_its_file_is_reported(cli: Any, tmp_path: Path) -> None:
    """The file may have been moved away. Submitting feedback would not create it."""
    (tmp_path / "feedback.db-wal").write_bytes(b"latest writes")
    ran = cli("stats")
    assert ran.code == 5
    assert "restore the file" in " ".join(ran.err.split())


@pytest.mark.parametrize("comment", ["Slow", "Slow\n\nand wrong", "word " * 60])
def test_comments_are_not_padded(cli: Any, comment: str) -> None:
    """A line in a pipe ends with its last character, also where a long comment is wrapped."""
    cli("submit", "s", "down", comment)
    ran = cli("list")
    _, *lines = ran.out.splitlines()
    assert [line for line in lines if line != line.rstrip() or len(line) > 100] == []
    assert " ".join(ran.out.split()[-len(comment.split()) :]) == " ".join(comment.split())


def test_a_list_is_sorted(cli: Any) -> None:
    """Newest or oldest first; cursors continue in the same order."""
    ids = [submitted(cli, f"s{number}", "up") for number in range(5)]

    def listed(*options: str) -> Any:
        return cli("list", "--limit", "3", *options, "--json").json

    for order, expected in (("newest", ids[::-1]), ("oldest", ids)):
        first = listed("--sort", order)
        second = listed("--sort", order, "--after", first["next"])
        assert [one["id"] for page in (first, second) for one in page["feedbacks"]] == expected
        assert second["next"] is None
    assert listed() == listed("--sort", "newest")
