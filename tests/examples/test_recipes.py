"""The recipes for chats store thumbs as votes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from attrs import field, frozen

import harken
from harken import FeedbackQuery
from support import PATIENCE

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "examples" / "recipes"

pytestmark = pytest.mark.slow


def environ() -> dict[str, str]:
    """Environment variables that disable the libraries' telemetry."""
    quiet = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    }
    return {**os.environ, **quiet, "GRADIO_SERVER_NAME": "127.0.0.1", "PYTHONUNBUFFERED": "1"}


def read_stored(folder: Path) -> list[tuple[str | None, str, str | None, bool]]:
    """Rating, comment, message id and withdrawal of all feedback that a recipe stored in the folder."""
    with harken.connect(f"sqlite:///{folder}/feedback.db") as hk:
        stream = hk.collection.stream(FeedbackQuery().in_any_state())
        return [(one.rating.value, one.comment, one.message_id, one.withdrawn) for one in stream]


# --- Streamlit --------------------------------------------------------------------------------------------------------

CHAT = """
import json, sys
from streamlit.testing.v1 import AppTest

app = AppTest.from_file(sys.argv[1], default_timeout=60).run()
for question in ("Hello", "Goodbye"):
    app.chat_input[0].set_value(question).run()
for action in json.loads(sys.argv[2]):
    match action:
        case ["thumb", answer, thumb]:
            app.feedback[answer].set_value(thumb).run()
        case ["reason", answer, reason]:
            app.text_input[answer].set_value(reason).run()
print(json.dumps({
    "messages": [message.markdown[0].value for message in app.chat_message],
    "errors": [error.value for error in app.error] + [error.message for error in app.exception],
    "asked why": len(app.text_input),
}))
"""


def streamlit(folder: Path, *actions: tuple[str, int, Any]) -> Any:
    """The content of a page after two questions and these actions."""
    words = [sys.executable, "-c", CHAT, str(RECIPES / "streamlit_chat.py"), json.dumps(actions)]
    ran = subprocess.run(words, cwd=folder, env=environ(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("actions", "expected", "asked"),
    [
        ([("thumb", 0, 1)], ("up", "", "1", False), 0),
        ([("thumb", 0, 1), ("thumb", 0, 0), ("reason", 0, "Too slow")], ("down", "Too slow", "1", False), 1),
        ([("thumb", 1, 0), ("thumb", 1, None)], ("down", "", "3", True), 0),
    ],
)
def test_streamlit(tmp_path: Path, actions: Any, expected: object, asked: int) -> None:
    """A thumb is stored, changed and withdrawn, one for each answer; a thumbs-down shows a field for a reason."""
    shown = streamlit(tmp_path, *actions)
    assert shown == {
        "messages": ["Hello", "You said: Hello", "Goodbye", "You said: Goodbye"],
        "errors": [],
        "asked why": asked,
    }
    assert read_stored(tmp_path) == [expected]


def test_streamlit_shows_why_a_reason_is_rejected(tmp_path: Path) -> None:
    """A rejected reason shows an error, and the thumb is kept."""
    shown = streamlit(tmp_path, ("thumb", 1, 0), ("reason", 0, "Buy viagra"))
    assert shown["errors"] == ["Spam detected"]
    assert read_stored(tmp_path) == [("down", "", "3", False)]


# --- Gradio -----------------------------------------------------------------------------------------------------------


@frozen
class Page:
    """A Gradio page; sends the HTTP requests of a browser."""

    url: str
    events: dict[str, int] = field()

    @events.default
    def _read_events(self) -> dict[str, int]:
        config = requests.get(f"{self.url}/config", timeout=PATIENCE).json()
        return {one["api_name"]: one["id"] for one in config["dependencies"] if one["api_name"]}

    def send(self, event: str, *data: Any, event_data: Any = None) -> Any:
        """Send an event; returns its output."""
        body = {"data": data, "event_data": event_data, "fn_index": self.events[event], "session_hash": "page-1"}
        requests.post(f"{self.url}/gradio_api/queue/join", json=body, timeout=PATIENCE).raise_for_status()
        response = requests.get(
            f"{self.url}/gradio_api/queue/data", params={"session_hash": "page-1"}, stream=True, timeout=PATIENCE
        )
        with response:
            messages = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith(b"data: "))
            return next(message["output"] for message in messages if message["msg"] == "process_completed")

    def press(self, liked: bool | str) -> Any:
        """Press a thumb under the first answer; an empty text if it was pressed before."""
        history = [_message("user", "Hello"), _message("assistant", "You said: Hello", id="answer-1")]
        return self.send("rate", history, event_data={"index": 1, "value": "You said: Hello", "liked": liked})["data"]


def _message(role: str, text: str, **metadata: str) -> dict[str, Any]:
    return {"role": role, "metadata": metadata, "content": [{"type": "text", "text": text}], "options": []}


@contextmanager
def gradio(folder: Path) -> Iterator[Page]:
    """Serve the recipe on a free port."""
    words = [sys.executable, str(RECIPES / "gradio_chat.py")]
    with subprocess.Popen(words, cwd=folder, env=environ(), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            yield Page(next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line))))
        finally:
            server.terminate()


def test_gradio(tmp_path: Path) -> None:
    """A thumb is stored, changed and withdrawn; a thumbs-down shows a field for a reason, a rejected one an error."""
    with gradio(tmp_path) as page:
        _, reason = page.press(liked=True)
        assert reason["visible"] is False
        assert read_stored(tmp_path) == [("up", "", "answer-1", False)]
        _, reason = page.press(liked=False)
        assert reason["visible"] is True
        assert page.send("explain", None, "Too slow")["data"][0]["visible"] is False
        assert read_stored(tmp_path) == [("down", "Too slow", "answer-1", False)]
        assert page.send("explain", None, "Buy viagra")["error"] == "Spam detected"
        page.press(liked="")
    assert read_stored(tmp_path) == [("down", "Too slow", "answer-1", True)]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_each_recipe() -> None:
    """The page includes all recipes."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"literalinclude} \.\./examples/recipes/(\w+\.py)", page)) == sorted(
        path.name for path in RECIPES.glob("*.py")
    )
