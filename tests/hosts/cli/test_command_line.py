"""What all commands have in common: global options, help, completion, suggestions, tables and empty storages."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import harken
from harken_adapters.hosts.cli import output
from harken_adapters.hosts.cli.app import app

URL = "sqlite:///feedback.db"


def stored(url: str = URL, **counts: int) -> None:
    """Store this number of thumbs-up in each application."""
    for application, count in counts.items():
        with harken.connect(url, application=application) as hk:
            for number in range(count):
                hk.submit(f"s{number}", "up", f"number {number}")


def all_commands() -> Iterator[tuple[str, ...]]:
    """The words of each command, without groups."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        subcommands = getattr(command, "commands", {})
        for name, subcommand in subcommands.items():
            yield from walk(subcommand, (*words, name))
        if not subcommands:
            yield words

    return walk(typer.main.get_command(app), ())


# --- Global options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("--storage", "sqlite:///other.db", "--application", "shop", "list", "--json"),
        ("list", "--json", "--storage", "sqlite:///other.db", "--application=shop"),
        ("--application", "shop", "list", "--storage", "sqlite:///other.db", "--json"),
        (
            "--storage",
            "sqlite:///missing.db",
            "list",
            "--json",
            "--storage=sqlite:///other.db",
            "--application",
            "shop",
        ),
    ],
)
def test_global_options_are_accepted_anywhere(cli: Any, words: tuple[str, ...]) -> None:
    """Before or after the command; the last one counts."""
    stored("sqlite:///other.db", shop=2, web=1)
    assert len(cli(*words, storage=None).json["feedbacks"]) == 2


def test_global_options_of_groups_of_commands(cli: Any) -> None:
    """They may be given at any level."""
    cli("keys", "create", "--scope", "read", "--application", "shop", storage="sqlite:///keys.db")
    for words in (
        ("keys", "--storage", "sqlite:///keys.db", "list", "--json"),
        ("keys", "list", "--json", "--storage", "sqlite:///keys.db"),
    ):
        (key,) = cli(*words, storage=None).json["keys"]
        assert key["application"] == "shop"


def test_hints_name_the_storage_and_the_application(cli: Any) -> None:
    """A command that a message suggests can be pasted, wherever the options were."""
    stored(shop=1)
    said = cli("alerts", "show", "nothing", "--application", "shop")
    assert said.code == 4
    problem = cli("demo", "--storage", "sqlite:///feedback.db", "--application", "shop", storage=None)
    assert "harken --storage sqlite:///feedback.db --application shop list --rating down" in problem.out


# --- Help and completion ----------------------------------------------------------------------------------------------


def test_commands_are_grouped_in_the_help(cli: Any) -> None:
    """Each command is under one heading, and each description fits a line of 80 columns."""
    shown = cli("--help").out
    headings = re.findall(r"╭─ (.+?) ─+╮", shown)
    assert headings == [
        "Options",
        "Feedback",
        "Statistics",
        "Import, export and copies",
        "Alerts and notifications",
        "Services and access",
        "Installation",
    ]
    listed = re.findall(r"^│ ([a-z][a-z-]+) ", shown, re.MULTILINE)
    assert sorted(listed) == sorted({words[0] for words in all_commands()})


@pytest.mark.slow
def test_the_help_of_every_command(cli: Any) -> None:
    """It has the global options, and words such as TEXT instead of types, and none for options without a value."""
    for words in all_commands():
        shown = cli(*words, "--help").out
        assert "--storage " in shown, words
        assert "--application " in shown, words
        assert not re.search(r"<(bool|int|float|str|list)", shown), words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli: Any, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    """``--show-completion`` prints what the shell evaluates; it is for the command ``harken``."""
    monkeypatch.setenv("_HARKEN_COMPLETE", f"source_{shell}")
    shown = cli(storage=None)
    assert shown.code == 0
    assert "harken" in shown.out
    monkeypatch.delenv("_HARKEN_COMPLETE")
    # The tests may not have been started by a shell that can be detected.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "_HARKEN_COMPLETE" in cli("--show-completion", shell, storage=None).out


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("harken rea", ["reasons"]),
        ("harken keys ", ["create", "list", "revoke"]),
        ("harken list --sto", ["--storage"]),
        ("harken list --storage sqlite:///x.db --si", ["--since"]),
        ("harken list --status ", ["approved", "pending", "rejected", "any"]),
        ("harken list --rating ", ["up", "down", "neutral"]),
        ("harken list --zone Europe/Berl", ["Europe/Berlin"]),
        ("harken submit s u", ["up"]),
        ("harken stats --sort ", ["total", "up", "down", "satisfaction", "name"]),
        ("harken stats --by ", ["agent", "session", "tag", "context."]),
        ("harken compare --by t", ["tag"]),
        ("harken ranking --by ", ["agent", "context."]),
        ("harken trends --by w", ["week", "weekday"]),
        ("harken alerts backtest --by ", ["session", "agent", "application"]),
        ("harken moderate several ", ["approve", "reject", "hold", "undo"]),
        ("harken routes add r --event feedback.w", ["feedback.withdrawn"]),
        ("harken export --for ", ["spreadsheet"]),
        ("harken import --scale ", ["0..1", "stars", "nps"]),
        ("harken import --from lang", ["langfuse", "langsmith"]),
        ("harken migrate mongodb-sessions --scale n", ["nps"]),
    ],
)
def test_completions(cli: Any, monkeypatch: pytest.MonkeyPatch, typed: str, completions: list[str]) -> None:
    """A shell asks with the words of the line."""
    monkeypatch.setenv("_HARKEN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
    assert cli(storage=None).out.split() == completions


# --- Tables -----------------------------------------------------------------------------------------------------------

ROWS = [("a long name of an agent that gives answers", 1_234, "a sentence that explains it " * 3)]


@pytest.mark.parametrize("width", [120, 80, 40])
def test_tables_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """A row is a line: texts are truncated, numbers are not, and there are no blanks at the end."""
    monkeypatch.setenv("COLUMNS", str(width))
    output.table(("name", "entries", "explanation"), ROWS)
    heading, row, empty = capsys.readouterr().out.split("\n")[:3]
    assert (len(row), empty) == (width, "")
    assert "1,234" in row
    assert row.endswith("…")
    assert heading.rstrip() == heading
    assert heading.index("entries") + len("entries") == row.index("1,234") + len("1,234")


@pytest.mark.slow
def test_tables_in_a_pipe_are_not_truncated(tmp_path: Path) -> None:
    """Their lines are as long as needed, also with comments; charts have no blanks at the end of lines."""
    name, comment = "an-agent-with-a-name-that-is-so-long-that-it-fits-no-terminal" * 3, "word " * 100
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        hk.submit("s", "down", comment, agent_id=name, context={"place": name})
    environment = {one: value for one, value in os.environ.items() if one != "COLUMNS"}

    def lines(*words: str) -> list[str]:
        program = "import sys; from harken_adapters.hosts.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "--storage", f"sqlite:///{tmp_path}/feedback.db", *words]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        assert not [line for line in shown.splitlines() if line != line.rstrip()]
        return shown.splitlines()

    assert f"context.place  {name}        1" in lines("facets")
    assert f"    {comment.strip()}" in lines("list")
    (row,) = [line for line in lines("stats", "--by", "agent") if line.startswith(name)]
    assert "┤" in row
    assert "… " not in row


# --- Nothing stored ---------------------------------------------------------------------------------------------------

#: Commands that show feedback or statistics.
READING = [
    ("list",),
    ("stats",),
    ("stats", "--by", "agent"),
    ("trends",),
    ("themes",),
    ("compare", "--since", "2026-01-01"),
    ("compare", "--by", "agent"),
    ("headline",),
    ("reasons",),
    ("ranking",),
    ("facets",),
    ("report",),
    ("sentiment",),
    ("moderate", "queue"),
]


@pytest.mark.parametrize("command", READING)
def test_an_empty_application_names_others(cli: Any, command: tuple[str, ...]) -> None:
    """Feedback is often in another application than the one that was asked."""
    stored(shop=2, web=1)
    shown = cli(*command)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "No feedback yet in the application default",
        "Add --application NAME for one that has feedback: shop (2 entries), web (1 entry)",
    ]


def test_filters_that_match_nothing(cli: Any) -> None:
    """That is another answer than having no feedback."""
    stored(default=1)
    assert cli("list", "--rating", "down").out == "No feedback matches the filters\n"
    assert cli("moderate", "queue").out == "No pending feedback\n"


#: What is said about an agent that no feedback has.
UNKNOWN = "Unknown agent 'Detla' (did you mean 'Delta'?); known: Delta, United"


@pytest.fixture
def two_agents(cli: Any) -> None:
    """Stores feedback on two agents, with a tag and context."""
    with harken.connect(URL) as hk:
        for agent in ("Delta", "United"):
            hk.submit("s", "up", "Good", agent_id=agent, tags=["too slow"], context={"tier": "gold", "timezone": "CET"})


@pytest.mark.parametrize(
    "command", [*[one for one in READING if one not in (("facets",), ("moderate", "queue"))], ("export",)]
)
@pytest.mark.usefixtures("two_agents")
def test_an_unknown_agent_is_named(cli: Any, command: tuple[str, ...]) -> None:
    """A misspelt agent has no feedback; a similar one that has some is suggested."""
    shown = cli(*command, "--agent", "Detla")
    assert shown.code == 0
    if command == ("export",):
        assert (shown.out, shown.err) == ("", f"{UNKNOWN}\n0 entries exported\n")
    else:
        assert shown.out == f"No feedback matches the filters\n{UNKNOWN}\n"


@pytest.mark.usefixtures("two_agents")
def test_unknown_agents_of_a_comparison(cli: Any) -> None:
    """One side without feedback is named, also in JSON, where its satisfaction is null and not 0."""
    shown = cli("compare", "--before-agent", "Detla", "--after-agent", "Delta", "--json")
    assert shown.err == f"{UNKNOWN}\n"
    assert (shown.json["before"]["satisfaction_score"], shown.json["after"]["satisfaction_score"]) == (None, 100.0)
    shown = cli("compare", "--before-agent", "Detla", "--after-agent", "Untied")
    assert shown.out.splitlines() == [
        "No feedback matches the filters",
        UNKNOWN,
        "Unknown agent 'Untied' (did you mean 'United'?); known: Delta, United",
    ]


@pytest.mark.parametrize(
    ("filters", "line"),
    [
        (["--tag", "to slow"], "Unknown tag 'to slow'; known: too slow"),
        (["--context", "tier=glod"], "Unknown context.tier 'glod'; known: gold"),
        (["--context", "teir=gold"], "No feedback has context.teir (did you mean 'context.tier'?)"),
        (["--session", "t"], None),
    ],
)
@pytest.mark.usefixtures("two_agents")
def test_unknown_values_of_filters_are_named(cli: Any, filters: list[str], line: str | None) -> None:
    """For tags and context values, those that exist are named."""
    shown = cli("stats", *filters).out.splitlines()
    assert shown == ["No feedback matches the filters", *([line] if line else [])]


def test_feedback_in_other_states_is_mentioned(cli: Any) -> None:
    """If all feedback that matches is pending, that is the reason why there is none."""
    with harken.connect(URL, spam="hold") as hk:
        hk.submit("s", "up", "Click here for a casino bonus")
    hint = "1 entry is pending, rejected or withdrawn; to include them, add --status any --withdrawn"
    assert cli("stats").out.splitlines() == ["No feedback matches the filters", hint]
    assert "up" in cli("list", "--status", "any", "--withdrawn").out


@pytest.mark.usefixtures("two_agents")
def test_a_context_name_is_suggested_as_a_group(cli: Any) -> None:
    """The name of a context value that feedback has needs its prefix."""
    for command in ("stats", "compare", "ranking"):
        ran = cli(command, "--by", "timezone")
        assert ran.code == 2
        assert "Cannot group by 'timezone'; expected agent, " in ran.err
        assert ran.err.endswith("; did you mean context.timezone?\n")
        assert "did you mean" not in cli(command, "--by", "country").err


@pytest.mark.parametrize("file", [(), ("feedback.jsonl",)])
def test_exports_of_an_empty_application_name_others(cli: Any, file: tuple[str, ...]) -> None:
    """On stderr, as the file may be stdout."""
    stored(shop=2)
    shown = cli("export", *file, "--application", "shopp")
    assert shown.code == 0
    assert shown.err.splitlines()[:2] == [
        "No feedback yet in the application shopp",
        "Add --application NAME for one that has feedback: shop (2 entries)",
    ]


def test_applications(cli: Any) -> None:
    """All entries are counted, and those that statistics show."""
    stored(web=3, shop=1)
    with harken.connect(URL, application="web", spam="hold") as hk:
        hk.submit("s", "up", "Click here for a casino bonus")
    assert cli("applications", "--json").json == {
        "applications": [
            {"application": "shop", "entries": 1, "counted": 1},
            {"application": "web", "entries": 4, "counted": 3},
        ]
    }
    assert [line.split() for line in cli("applications").out.splitlines()][:3] == [
        ["application", "entries", "counted"],
        ["shop", "1", "1"],
        ["web", "4", "3"],
    ]


#: A MongoDB server that does not answer.
UNREACHABLE = "mongodb://127.0.0.1:9/sessions?serverSelectionTimeoutMS=100"
#: Commands that create a missing storage, or need no storage, with valid options whose values are refused later.
WRITING: dict[tuple[str, ...], list[tuple[str, ...]]] = {
    ("submit",): [("s", "down"), ("", "up"), ("s", "up", "--tag", "")],
    ("import",): [("missing.csv",)],
    ("copy",): [("--from", "sqlite:///missing.db", "--to", "sqlite:///target.db")],
    ("migrate", "mongodb-sessions"): [("--from", UNREACHABLE, "--collection", "sessions")],
    ("relay",): [("--once",)],
    ("demo",): [("--application", "")],
    ("serve",): [("--host", "0.0.0.0", "--port", "0"), ("--host", "0.0.0.0", "--open")],
    ("mcp",): [("--http", "127.0.0.1:0"), ("--write", "--allowed-host", "x"), ("--write", "--application", "")],
    ("keys", "create"): [("--scope", "read", "--agent", ""), ("--scope", "read", "--application", "")],
    ("routes", "add"): [("r", "--channel", "x"), ("r", "--channel", "log", "--template", "{{ x")],
    ("channels", "on"): [("x",), ("log",)],
    ("channels", "off"): [("x",), ("log", "--reason", "")],
}
ARGUMENTS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("compare",): ("--by", "agent"),
    ("erase",): ("x", "--yes"),
    ("mint-token",): ("--session", "s"),
    ("mint-link",): ("https://example.com", "--session", "s"),
    ("moderate", "several"): ("approve", "x:1"),
    ("deliveries", "move"): ("a", "b"),
    ("alerts", "backtest"): ("--length", "3", "--by", "agent"),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", sorted(all_commands()), ids=" ".join)
def test_commands_that_change_nothing_create_no_file(cli: Any, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A mistyped URL is an error that names the file, not a new storage; and what is refused leaves no empty one."""
    for arguments in WRITING.get(words, [ARGUMENTS.get(words, ()), ("x",)]):
        ran = cli(*words, *arguments, storage=None if words == ("copy",) else URL)
        assert ran.code in ((1, 2, 3, 4, 5) if words in WRITING else (0, 1, 2, 5)), ran
        assert list(tmp_path.iterdir()) == [], arguments
