"""The npm package of the widget and the browser client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import harken
from harken.clock import utc_now
from harken.domain.feedback import Rating
from harken_adapters.hosts.fastapi import SessionTokens
from harken_adapters.hosts.http.serving.feedback_links.texts import REASONS, TEXTS
from hosts.serving import served, stored_feedback

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "javascript"
#: Node and npm are development dependencies of the project.
PROGRAMS = Path(sys.executable).parent
SECRET = "an example of a secret, of 32 characters or more"


def _run(*command: str) -> str:
    """The output of a program in the package's folder; fails with all that it printed."""
    assert (PACKAGE / "node_modules" / ".ready").exists(), "Run 'make javascript': it installs what the tests need"
    environ = os.environ | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=PACKAGE, env=environ, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_modules_keep_their_promises() -> None:
    """The package's own tests pass: requests, votes, texts, and that the served modules are a build of this source."""
    printed = _run("npm", "test", "--silent")
    print(printed)  # the sizes of the modules
    assert "fail 0" in printed
    assert "pass 0" not in printed


def test_the_types_are_valid() -> None:
    """TypeScript accepts the types with the tests, the DOM, React 19 and React 18, and refuses wrong use."""
    _run("npm", "run", "check", "--silent")


def test_the_package_contains_what_users_need() -> None:
    """The package has the source, the types, the licence of the project and the page about it, and nothing else."""
    (packed,) = json.loads(_run("npm", "pack", "--dry-run", "--json", "--silent"))
    sources = {f"src/{path.name}" for path in (PACKAGE / "src").iterdir()}
    types = {"types/harken.d.ts", "types/react.d.ts", "types/widget.d.ts"}
    assert {one["path"] for one in packed["files"]} == {"LICENSE", "README.md", "package.json"} | sources | types
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert packed["version"] == json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))["version"]


def test_dependencies_are_pinned_without_a_lock_file() -> None:
    """Each development dependency has an exact version, as there is no lock file; users get no dependency."""
    package = json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))
    loose = [
        one for one in package["devDependencies"].values() if not one.rpartition("@")[2].replace(".", "").isdigit()
    ]
    assert not loose
    assert "dependencies" not in package
    assert not (PACKAGE / "package-lock.json").exists()


@pytest.fixture(params=[PACKAGE / "src" / "harken.js", None], ids=["package", "served"])
def module(request: pytest.FixtureRequest) -> Path | None:
    """The module of the client: that of the package, or the one that the server serves."""
    path: Path | None = request.param
    return path


def _session(url: str, module: Path, *tokens: str) -> dict[str, Any]:
    program = Path(__file__).with_name("against_harken.mjs")
    seen: dict[str, Any] = json.loads(_run("node", str(program), module.as_uri(), url, *tokens))
    return seen


def test_the_client_works_with_a_real_server(module: Path | None, tmp_path: Path) -> None:
    """What the client sends is stored as the author's; it renews its token, repeats safely, and reports refusals."""
    tokens = SessionTokens([SECRET], clock=utc_now)
    expired = SessionTokens([SECRET], clock=lambda: utc_now() - timedelta(days=1)).mint(session_id="sitzung ü")
    token = tokens.mint(session_id="sitzung ü", author="author-7")
    with harken.connect("memory://") as hk, served(hk, access="keys", token_secrets=(SECRET,)) as server:
        if module is None:
            module = tmp_path / "harken.mjs"
            module.write_bytes(server.ask("GET", "/harken.js").content)
        seen = _session(server.url, module, expired, token)
        stored = {(one.target.message_id, one.rating, one.withdrawn): one for one in stored_feedback(hk)}

    assert set(stored) == {
        ("m 1 ü", Rating.DOWN, False),
        (None, Rating.UP, False),
        ("m-2", Rating.DOWN, True),
        ("m-2", Rating.NEUTRAL, False),
    }
    assert {one.author for one in stored.values()} == {"author-7"}
    changed = stored["m 1 ü", Rating.DOWN, False]
    assert (changed.comment, changed.tags, changed.target.agent_id) == ("The date was wrong", ("wrong",), "helper")
    assert seen["first"]["feedback_id"] == seen["changed"]["feedback_id"] == changed.id
    assert seen["repeated"] == {**seen["changed"], "replayed": True}
    assert seen["refused"]["name"] == "HarkenError"
    assert [(one["field"], one["code"]) for one in seen["refused"]["violations"]] == [("comment", "required")]
    assert seen["foreign"] == 403
    assert [(one["message_id"], one["rating"]) for one in seen["votes"]] == [("m 1 ü", "down"), (None, "up")]


def test_the_widget_and_the_page_of_feedback_links_speak_alike() -> None:
    """What both show has the same words in each language."""
    program = """
        const { textsOf } = await import("./src/texts.js");
        const { LANGUAGES } = await import("./src/widget-languages.js");
        console.log(JSON.stringify({ en: textsOf("en"), ...LANGUAGES }));
    """
    widget = json.loads(_run("node", "--input-type=module", "--eval", program))
    assert widget.keys() == TEXTS.keys()
    for language, page in TEXTS.items():
        shared = {name: getattr(page, name) for name in ("question", "up", "down", "send", "thanks", "sent", "change")}
        shared |= {"why": page.what_went_wrong, "words": page.own_words, "close": page.not_now, "undo": page.undo}
        shared |= {"removed": page.taken_back, **dict(zip(REASONS, page.reasons, strict=True))}
        shared |= {name: getattr(page, name).rstrip(".。") for name in ("required", "too_long", "spam")}
        assert {name: widget[language][name] for name in shared} == shared
