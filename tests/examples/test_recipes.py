"""The recipes for chats keep thumbs as the people who press them mean them."""

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
    """What the libraries need to tell nobody of this."""
    quiet = {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    }
    return {**os.environ, **quiet, "GRADIO_SERVER_NAME": "127.0.0.1", "PYTHONUNBUFFERED": "1"}


def kept(folder: Path) -> list[tuple[str | None, str, str | None, bool]]:
    """Rating, comment, message, and whether it was taken back, of all that a recipe has kept in that folder."""
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
for do in json.loads(sys.argv[2]):
    match do:
        case ["thumb", answer, thumb]:
            app.feedback[answer].set_value(thumb).run()
        case ["reason", answer, reason]:
            app.text_input[answer].set_value(reason).run()
print(json.dumps({
    "said": [message.markdown[0].value for message in app.chat_message],
    "errors": [error.value for error in app.error] + [error.message for error in app.exception],
    "asked why": len(app.text_input),
}))
"""


def streamlit(folder: Path, *does: tuple[str, int, Any]) -> Any:
    """What a page shows after somebody has said two things, and then done these."""
    words = [sys.executable, "-c", CHAT, str(RECIPES / "streamlit_chat.py"), json.dumps(does)]
    ran = subprocess.run(words, cwd=folder, env=environ(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("does", "expected", "asked"),
    [
        ([("thumb", 0, 1)], ("up", "", "1", False), 0),
        ([("thumb", 0, 1), ("thumb", 0, 0), ("reason", 0, "Too slow")], ("down", "Too slow", "1", False), 1),
        ([("thumb", 1, 0), ("thumb", 1, None)], ("down", "", "3", True), 0),
    ],
)
def test_streamlit(tmp_path: Path, does: Any, expected: object, asked: int) -> None:
    """A thumb is kept, changed and taken back, one for each answer; who presses down is asked why."""
    shown = streamlit(tmp_path, *does)
    assert shown == {
        "said": ["Hello", "You said: Hello", "Goodbye", "You said: Goodbye"],
        "errors": [],
        "asked why": asked,
    }
    assert kept(tmp_path) == [expected]


def test_streamlit_tells_what_is_refused(tmp_path: Path) -> None:
    """Who gives a reason that is none is told so, and the thumb stays."""
    shown = streamlit(tmp_path, ("thumb", 1, 0), ("reason", 0, "Buy viagra"))
    assert shown["errors"] == ["Spam detected"]
    assert kept(tmp_path) == [("down", "", "3", False)]


# --- Gradio -----------------------------------------------------------------------------------------------------------


@frozen
class Page:
    """A page of Gradio, whose events are sent as a browser sends them."""

    url: str
    events: dict[str, int] = field()

    @events.default
    def _known(self) -> dict[str, int]:
        asked = requests.get(f"{self.url}/config", timeout=PATIENCE).json()
        return {one["api_name"]: one["id"] for one in asked["dependencies"] if one["api_name"]}

    def send(self, event: str, *data: Any, told: Any = None) -> Any:
        """What comes of an event."""
        body = {"data": data, "event_data": told, "fn_index": self.events[event], "session_hash": "page-1"}
        requests.post(f"{self.url}/gradio_api/queue/join", json=body, timeout=PATIENCE).raise_for_status()
        come = requests.get(
            f"{self.url}/gradio_api/queue/data", params={"session_hash": "page-1"}, stream=True, timeout=PATIENCE
        )
        with come:
            messages = (json.loads(line[6:]) for line in come.iter_lines() if line.startswith(b"data: "))
            return next(message["output"] for message in messages if message["msg"] == "process_completed")

    def press(self, liked: bool | str) -> Any:
        """Press a thumb under the first answer; an empty text for one that was pressed before."""
        history = [_message("user", "Hello"), _message("assistant", "You said: Hello", id="answer-1")]
        return self.send("rate", history, told={"index": 1, "value": "You said: Hello", "liked": liked})["data"]


def _message(role: str, text: str, **metadata: str) -> dict[str, Any]:
    return {"role": role, "metadata": metadata, "content": [{"type": "text", "text": text}], "options": []}


@contextmanager
def gradio(folder: Path) -> Iterator[Page]:
    """The recipe, served on any port that is free."""
    words = [sys.executable, str(RECIPES / "gradio_chat.py")]
    with subprocess.Popen(words, cwd=folder, env=environ(), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            yield Page(next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line))))
        finally:
            server.terminate()


def test_gradio(tmp_path: Path) -> None:
    """A thumb is kept, changed and taken back; who presses down is asked why, and told if that is no reason."""
    with gradio(tmp_path) as page:
        _, reason = page.press(liked=True)
        assert reason["visible"] is False
        assert kept(tmp_path) == [("up", "", "answer-1", False)]
        _, reason = page.press(liked=False)
        assert reason["visible"] is True
        assert page.send("explain", None, "Too slow")["data"][0]["visible"] is False
        assert kept(tmp_path) == [("down", "Too slow", "answer-1", False)]
        assert page.send("explain", None, "Buy viagra")["error"] == "Spam detected"
        page.press(liked="")
    assert kept(tmp_path) == [("down", "Too slow", "answer-1", True)]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_each_recipe() -> None:
    """All recipes are on the page, as they are."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"literalinclude} \.\./examples/recipes/(\w+\.py)", page)) == sorted(
        path.name for path in RECIPES.glob("*.py")
    )
