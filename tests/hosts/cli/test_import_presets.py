"""``harken import --from PRESET`` with an export of each program, and ``--mapping FILE``."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Feedback
from harken_adapters.formats.presets import preset_names, preset_text

pytestmark = pytest.mark.slow

FILES = Path(__file__).parents[2] / "preset_files"
URL = "sqlite:///feedback.db"

#: Session, message, agent, author, rating, comment, tags, and minutes after 10 o'clock on the first of May in UTC. An
#: asterisk is a session of its own; a time of ``None`` is that of the import.
Expected = tuple[str, str | None, str | None, str | None, str, str, tuple[str, ...], float | None]

IMPORTS: dict[str, tuple[str, Sequence[Expected]]] = {
    "open-webui.json": (
        "",
        [
            ("chat-1", "msg-1", "llama3.1:8b", "ann", "up", "Right on the first try", ("accurate_information",), 0),
            ("chat-1", "msg-2", "llama3.1:8b", "ann", "down", "Gate 7 is upstairs", ("not_factually_correct",), 60),
            ("chat-2", "msg-3", "llama3.1:8b", "ben", "neutral", "", (), 120),
        ],
    ),
    "langfuse.csv": (
        "",
        [
            ("tr-1", "ob-1", "support-bot", "ann", "up", "Exactly what I needed", (), 0),
            ("tr-2", "tr-2", "support-bot", "ben", "down", "", (), 60),
            ("chat-9", None, None, None, "down", "Lost the thread", (), 120),
        ],
    ),
    "langfuse-blob-storage.jsonl": (
        "",
        [
            ("tr-1", "ob-1", None, "ann", "up", "Exactly what I needed", (), 0),
            ("tr-2", "tr-2", None, None, "down", "No answer", (), 60 + 0.5 / 60),
            ("chat-9", None, None, None, "down", "", (), 120),
        ],
    ),
    "langfuse-api-v2.json": (
        "",
        [
            ("tr-1", "ob-1", None, "ann", "up", "Exactly what I needed", (), 0),
            ("tr-2", "tr-2", None, "cleo", "down", "", (), 60),
        ],
    ),
    "langfuse-api-v3.json": (
        "",
        [
            ("tr-1", "ob-1", None, None, "up", "Exactly what I needed", (), 0),
            ("tr-2", "tr-2", None, None, "down", "", (), 60),
        ],
    ),
    "langsmith.jsonl": (
        "",
        [
            ("trace-1", "run-1", None, "ann", "up", "Clear", (), 0.123456 / 60),
            ("trace-2", "run-2", None, "ls-ben", "down", "Old prices", (), 60),
        ],
    ),
    "langsmith-categories.jsonl": ("", [("run-3", "run-3", None, None, "up", "Friendly", (), 120)]),
    "chainlit.csv": (
        "",
        [
            ("thread-1", "step-1", None, None, "up", "Helpful", (), 0),
            ("thread-1", "step-2", None, None, "down", "Wrong terminal", (), 60),
        ],
    ),
    "chainlit-data-layer.csv": (
        "",
        [
            ("step-1", "step-1", None, None, "up", "Helpful", (), 0.123 / 60),
            ("step-2", "step-2", None, None, "down", "", (), 60),
        ],
    ),
    "mlflow.jsonl": (
        "",
        [
            ("tr-1", "span-1", None, "ann", "up", "Right", (), 0),
            ("tr-2", "tr-2", None, "ann", "down", "Invented a flight", (), 60 + 0.5 / 60),
            ("tr-3", "tr-3", None, "ben", "up", "", (), 120),
        ],
    ),
    "mlflow-2.jsonl": ("", [("tr-1", "tr-1", None, "ann", "down", "Invented a flight", (), 0)]),
    "mlflow-database.csv": (
        "",
        [
            ("tr-1", "span-1", None, "ann", "up", "Right", (), 0),
            ("tr-2", "tr-2", None, "ben", "down", "Invented a flight", (), 60),
        ],
    ),
    "argilla.json": (
        "",
        [
            ("rec-1", None, None, "ann", "up", "Short and right", (), None),
            ("rec-2", None, None, "ann", "down", "Not the question", (), None),
            ("rec-3", None, None, "ann", "neutral", "", (), None),
        ],
    ),
    "argilla-1.json": ("", [("rec-1", None, None, "ann", "down", "Too short", (), None)]),
    "gradio.csv": (
        "--zone Europe/Madrid",
        [
            ("*", None, None, "ann", "up", "'=2 floors up, thanks", (), 0.301921 / 60),
            ("*", None, None, "ben", "down", "Not funny", (), 60 + 0.302072 / 60),
        ],
    ),
    "gradio-without-login.csv": ("--zone Europe/Madrid", [("*", None, None, None, "up", "Thanks", (), 0.301921 / 60)]),
    "gradio-chat.csv": (
        "--zone Europe/Madrid",
        [
            ("*", None, None, None, "up", "", (), 0.301921 / 60),
            ("*", None, None, None, "down", "", (), 60 + 0.302072 / 60),
        ],
    ),
    "google-play.csv": (
        "",
        [
            ("*", None, None, None, "up", "Muy útil", (), 0),
            ("*", None, None, None, "down", "Crashes, since the update", (), 60 + 0.123 / 60),
            ("*", None, None, None, "neutral", "", (), 120),
        ],
    ),
    "google-play-scraper.csv": (
        "",
        [
            ("rev-1", None, None, "Ann", "up", "Works well", (), 0),
            ("rev-2", None, None, "Ben", "down", "It logs me out", (), 60),
        ],
    ),
    "app-store.json": (
        "",
        [
            ("rev-1", None, None, "ann82", "up", "Boarding passes at once", (), 0),
            ("rev-2", None, None, "ann82", "down", "It takes a minute to start", (), 60),
            ("rev-3", None, None, "ann82", "neutral", "It depends", (), 120),
        ],
    ),
    "app-store-feed.json": (
        "--key feed.entry",
        [
            ("101", None, None, "ben", "up", "Finds my flights", (), 0),
            ("102", None, None, "ben", "down", "It lost my booking", (), 60),
        ],
    ),
    "app-store-scraper.csv": (
        "",
        [
            ("*", None, None, "ann", "up", "Finds my flights", (), 0),
            ("*", None, None, "ben", "down", "It lost my booking", (), 60),
        ],
    ),
    "qualtrics.csv": (
        "--map rating=Q1_NPS_GROUP --map comment=Q2 --zone America/Denver",
        [
            ("R_1Xk2", None, None, "customer-1", "up", "Easy to book", (), -175 + 1 / 60),
            ("R_2Xk2", None, None, "customer-2", "neutral", "", (), -115 + 1 / 60),
            ("R_3Xk2", None, None, "customer-3", "down", "Cancelled twice", (), -55 + 1 / 60),
        ],
    ),
}


def preset_of(file: str) -> str:
    """The name of a file begins with that of its preset."""
    return next(name for name in preset_names() if file.startswith((f"{name}.", f"{name}-")))


@pytest.fixture(autouse=True)
def copies(cli: Any, tmp_path: Path) -> None:
    """The files, in the working directory: an import may write rejected rows to the same one."""
    for file in FILES.iterdir():
        shutil.copy(file, tmp_path)


def imported(cli: Any, file: str, *arguments: str) -> list[Feedback]:
    """Import a file. Returns all feedback, oldest first."""
    ran = cli("import", file, *arguments)
    assert ran.code == 0, ran.out + ran.err
    with harken.connect(URL) as hk:
        return list(hk.export())


def minutes(moment: datetime) -> float:
    """The minutes after 10 o'clock on the first of May in UTC."""
    return (moment - datetime(2025, 5, 1, 10, tzinfo=UTC)).total_seconds() / 60


def test_every_export_is_imported() -> None:
    """No file is left out below."""
    assert sorted(IMPORTS) == sorted(file.name for file in FILES.iterdir())


@pytest.mark.parametrize("file", IMPORTS)
def test_an_export_is_imported_with_its_preset(cli: Any, file: str) -> None:
    """All fields are those of the export, and importing it again adds nothing."""
    more, expected = IMPORTS[file]
    arguments = ("--from", preset_of(file), *more.split())
    found = {(one.content.rating.word, one.content.comment): one for one in imported(cli, file, *arguments)}
    assert len(found) == len(expected)
    for session, message, agent, author, rating, comment, tags, minute in expected:
        one = found[rating, comment]
        assert (one.target.message_id, one.target.agent_id, one.author) == (message, agent, author)
        assert tuple(one.content.tags) == tags
        if session != "*":
            assert one.target.session_id == session
        if minute is not None:
            assert minutes(one.created_at) == pytest.approx(minute, abs=1e-9)
    assert len({one.target.session_id for one in found.values()}) == len({one[0] for one in expected} - {"*"}) + sum(
        one[0] == "*" for one in expected
    )
    assert len(imported(cli, file, *arguments)) == len(expected)


def test_context_has_what_is_useful_and_no_personal_data(cli: Any) -> None:
    """A survey's language and channel are kept; addresses, names and places are not."""
    first, *_ = imported(cli, "qualtrics.csv", "--from", "qualtrics", "--map", "rating=Q1_NPS_GROUP")
    context = first.content.context
    assert (context["language"], context["channel"], context["seconds"]) == ("EN", "email", "300")
    assert not {"192.0.2.7", "Ann", "Example", "ann@example.com", "52.1", "4.3"} & set(map(str, context.values()))


def test_the_conversation_of_an_export_is_left_out(cli: Any) -> None:
    """Open WebUI exports the whole conversation with each rating."""
    for one in imported(cli, "open-webui.json", "--from", "open-webui"):
        assert "Downstairs." not in str(one.content.context)
        assert one.content.context["feedback_id"] in {"fb-1", "fb-2", "fb-3"}


def test_options_override_the_preset(cli: Any) -> None:
    """A preset is a default: an option of the command line wins, and the other columns stay."""
    more = ("--from", "google-play", "--map", "author=appVersion", "--rating", "4=neutral")
    found = {one.content.comment: one for one in imported(cli, "google-play-scraper.csv", *more)}
    assert {comment: one.author for comment, one in found.items()} == {"Works well": "2.1.0", "It logs me out": "2.0.9"}
    assert found["Works well"].content.rating.word == "neutral"
    assert found["It logs me out"].content.rating.word == "down"


def test_a_copied_preset_is_changed_and_used(cli: Any, tmp_path: Path) -> None:
    """A printed preset, changed in an editor, is a mapping file."""
    assert cli("import", "--show-preset", "chainlit").out == preset_text("chainlit")
    (tmp_path / "mine.toml").write_text(preset_text("chainlit").replace('"threadId", ', ""))
    found = imported(cli, "chainlit.csv", "--mapping", "mine.toml")
    assert {one.target.session_id for one in found} == {"step-1", "step-2"}


def test_a_wrong_preset_is_refused(cli: Any, tmp_path: Path) -> None:
    """A file without the columns of the preset is not imported as something else."""
    ran = cli("import", "chainlit.csv", "--from", "open-webui")
    assert ran.code == 2
    assert "'data.rating', which is mapped to rating, is missing" in " ".join(ran.err.split())
    assert not (tmp_path / "feedback.db").exists()


def test_a_mistyped_preset_gets_a_suggestion(cli: Any, tmp_path: Path) -> None:
    """Nothing is written, and the message has the name that was probably meant."""
    ran = cli("import", "langfuse.csv", "--from", "langfus")
    assert ran.code == 2
    assert "did you mean 'langfuse'?" in " ".join(ran.err.split())
    assert not (tmp_path / "feedback.db").exists()


def test_errors_in_a_mapping_file_refuse_the_import(cli: Any, tmp_path: Path) -> None:
    """The message names the file and the field."""
    (tmp_path / "mine.toml").write_text('columns.coment = "comment"')
    ran = cli("import", "chainlit.csv", "--mapping", "mine.toml")
    assert ran.code == 2
    assert "mine.toml: columns: Unknown field 'coment' (did you mean 'comment'?)" in " ".join(ran.err.split())
