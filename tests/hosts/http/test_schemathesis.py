"""The service and its OpenAPI document, compared by requests that nobody would think of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import harken
from harken import Scope
from hosts.serving import served

#: Rules and settings may refuse what has the right form, such as a down without a comment.
_BEYOND_A_SCHEMA = "positive_data_acceptance"


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "mongodb"])
def test_the_service_does_what_its_document_says(storage: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No request gets an answer that is not described or a 5xx, and what is described as wrong is refused."""
    url = {
        "sqlite": lambda: f"sqlite:///{tmp_path}/feedback.db",
        "mongodb": lambda: request.getfixturevalue("mongodb_url"),
    }[storage]()
    with harken.connect(url) as hk, served(hk, access="keys", limit_by_key="") as server:
        key = hk.keys.create("default", Scope).text
        hk.submit("user-123", "up", "found by the examples", message_id="m-4", author="ada")
        ran = run(f"{server.url}/openapi.json", key, tmp_path)
        assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr
        assert hk.check() == []


def run(url: str, key: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Send what examples say, what lies at the bounds of each schema, and what chance finds."""
    found_by_chance = settings.default.max_examples // 4 if settings.default else 1
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", url, "--no-color", "--continue-on-failure"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", str(found_by_chance)),
            *("--suppress-health-check", "all", "--warnings", "off"),
            # Neither keeps what was found for the next time.
            *(["--generation-deterministic"] if "CI" in os.environ else ["--generation-database", "none"]),
            *("--exclude-checks", _BEYOND_A_SCHEMA, "--header", f"Authorization: Bearer {key}"),
            # It never ends.
            *("--exclude-path", "/api/events"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
