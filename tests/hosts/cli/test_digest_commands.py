"""The commands digest show and digest send."""

from pathlib import Path
from typing import Any

import harken

URL = "sqlite:///feedback.db"
SETTINGS = '[channels.team]\nkind = "log"\n[[digests]]\nname = "weekly"\nchannel = "team"\n'


def given(folder: Path) -> None:
    """Store a digest in the settings, and feedback."""
    (folder / "harken.toml").write_text(SETTINGS)
    with harken.connect(URL) as hk:
        hk.submit("s", "up")


def test_a_digest_is_sent_once(cli: Any, tmp_path: Path) -> None:
    """A scheduler may call ``digest send`` several times; a relay delivers one digest."""
    given(tmp_path)
    assert cli("digest", "send", "weekly").out == "The digest waits for a relay\n"
    assert cli("digest", "send", "weekly", "--json").json == {"sent": False}
    assert cli("digest", "send", "weekly").out == "The digest of this week has already been sent\n"
    assert cli("relay", "--once").code == 0
    (delivery,) = [
        one
        for one in cli("deliveries", "list", "--json", "--state", "delivered").json["deliveries"]
        if one["event"]["type"] == "digest"
    ]
    assert delivery["channel"] == "team"


def test_a_digest_is_shown(cli: Any, tmp_path: Path) -> None:
    """``digest show`` prints the text, or JSON, and sends nothing."""
    given(tmp_path)
    shown = cli("digest", "show", "weekly").out
    assert "No feedback in this period" in shown
    assert shown.count("no thumbs") == 7
    assert cli("digest", "show", "weekly", "--json").json["statistics"]["total_feedbacks"] == 0
    assert cli("digest", "send", "weekly", "--json").json == {"sent": True}


def test_an_unknown_digest(cli: Any, tmp_path: Path) -> None:
    """The error names the digests of the settings."""
    given(tmp_path)
    for command in ("show", "send"):
        ran = cli("digest", command, "daily")
        assert (ran.code, ran.out) == (2, "")
        assert "Unknown digest 'daily'; expected weekly" in ran.err
