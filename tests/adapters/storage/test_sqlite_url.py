"""Parsing of ``sqlite:`` URLs."""

from pathlib import Path

import pytest

from harken.domain.errors import ConfigurationError
from harken_adapters.storage.sqlite.url import Location, parse_url


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("sqlite:///feedback.db", Location(Path("/here/feedback.db"))),
        ("SQLite:///feedback.db", Location(Path("/here/feedback.db"))),
        ("sqlite:///data/feedback.db", Location(Path("/here/data/feedback.db"))),
        ("sqlite:////var/lib/feedback.db", Location(Path("/var/lib/feedback.db"))),
        ("sqlite:///a%20b%3Fc%23d%5Ce.db", Location(Path("/here/a b?c#d\\e.db"))),
        ("sqlite:///größe.db", Location(Path("/here/größe.db"))),
        ("sqlite:////f.db?busy_timeout=0", Location(Path("/f.db"), busy_timeout=0)),
        ("sqlite:////f.db?busy_timeout=2.5", Location(Path("/f.db"), busy_timeout=2.5)),
    ],
)
def test_a_url_names_a_file(url: str, location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes begin a relative path and four an absolute one; escapes and options are parsed."""
    monkeypatch.setattr("os.getcwd", lambda: "/here")
    assert parse_url(url) == location


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "four slashes"),
        ("sqlite:///", "does not name a file"),
        ("sqlite:////", "does not name a file"),
        ("sqlite://feedback.db", "four slashes"),
        ("sqlite:///%00.db", "does not name a file"),
        ("sqlite:///:memory:", "memory://"),
        (r"sqlite:///C:\data\feedback.db", "Windows path"),
        ("sqlite:///C:/data/feedback.db", "Windows path"),
        ("sqlite:////C:/data/feedback.db", "Windows path"),
        ("sqlite:///C:feedback.db", "Windows path"),
        (r"sqlite:///data\feedback.db", "Windows path"),
        ("sqlite:///f.db#part", "write # in a file name as %23"),
        ("sqlite:///f.db?busy_timeout=1#part", "write # in a file name as %23"),
        ("sqlite:///f.db?timeout=3", "expected busy_timeout"),
        ("sqlite:///f.db?busy_timeout=soon", "number of seconds"),
        ("sqlite:///f.db?busy_timeout=-1", "number of seconds"),
        ("sqlite:///f.db?busy_timeout=nan", "number of seconds"),
        ("sqlite:///f.db?busy_timeout=inf", "number of seconds"),
    ],
)
def test_an_invalid_url_raises_a_helpful_error(url: str, says: str) -> None:
    """The ``ConfigurationError`` says what was expected."""
    with pytest.raises(ConfigurationError, match=says):
        parse_url(url)
