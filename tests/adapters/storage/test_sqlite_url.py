"""What a ``sqlite:`` URL may say."""

from pathlib import Path

import pytest

from harken.domain.errors import ConfigurationError
from harken_adapters.storage.sqlite.url import Location, parse_url


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("sqlite:///feedback.db", Location(Path("feedback.db"))),
        ("SQLite:///feedback.db", Location(Path("feedback.db"))),
        ("sqlite:///data/feedback.db", Location(Path("data/feedback.db"))),
        ("sqlite:////var/lib/feedback.db", Location(Path("/var/lib/feedback.db"))),
        ("sqlite:///C:/data/feedback.db", Location(Path("C:/data/feedback.db"))),
        ("sqlite:///a%20b%3Fc.db", Location(Path("a b?c.db"))),
        ("sqlite:///größe.db", Location(Path("größe.db"))),
        ("sqlite:///f.db?busy_timeout=0", Location(Path("f.db"), busy_timeout=0)),
        ("sqlite:///f.db?busy_timeout=2.5", Location(Path("f.db"), busy_timeout=2.5)),
    ],
)
def test_a_url_names_a_file(url: str, location: Location) -> None:
    """Three slashes and a relative path, four and an absolute one; escapes are undone, options are read."""
    assert parse_url(url) == location


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "four slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:////", "names no file"),
        ("sqlite://feedback.db", "four slashes"),
        ("sqlite:///%00.db", "names no file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///f.db?timeout=3", "known is busy_timeout"),
        ("sqlite:///f.db?busy_timeout=soon", "number of seconds"),
        ("sqlite:///f.db?busy_timeout=-1", "number of seconds"),
        ("sqlite:///f.db?busy_timeout=nan", "number of seconds"),
        ("sqlite:///f.db?busy_timeout=inf", "number of seconds"),
    ],
)
def test_a_url_that_makes_no_sense_says_what_would(url: str, says: str) -> None:
    """A mistake in the URL is a ``ConfigurationError`` that tells what was expected."""
    with pytest.raises(ConfigurationError, match=says):
        parse_url(url)
