"""Retention: parsing, and when feedback expires."""

from datetime import timedelta

import pytest

from harken import ConfigurationError, Retention
from support import NOON

DAY = timedelta(days=1)


def test_each_application_has_its_own() -> None:
    """The default is for all applications that are not named."""
    retention = Retention.parse("400 days", {"shop": "90d", "archive": "forever"})
    assert retention == Retention(400 * DAY, {"shop": 90 * DAY, "archive": None})
    assert [retention.kept_for(name) for name in ("shop", "archive", "other")] == [90 * DAY, None, 400 * DAY]
    assert retention.expired_before("shop", NOON) == NOON - 90 * DAY
    assert retention.expired_before("archive", NOON) is None


def test_without_settings_everything_is_kept() -> None:
    """Only a duration makes anything expire."""
    assert not Retention().is_set
    assert not Retention.parse("forever", {"shop": "forever"}).is_set
    assert Retention.parse("forever", {"shop": "1 day"}).is_set


def test_longer_than_the_calendar() -> None:
    """A duration that leads before the year 1 keeps everything."""
    assert Retention.parse("999999999 days").expired_before("default", NOON) is None


@pytest.mark.parametrize(
    ("default", "applications", "message"),
    [
        (
            "400",
            {},
            "retention must be a duration in days or hours, such as '400 days' or '36h', or 'forever'; got '400'",
        ),
        (400, {}, "retention must be a duration"),
        ("", {}, "retention must be a duration"),
        ("12m", {}, "retention must be at least a day, such as '30 days'; got '12m'; 'm' means minutes"),
        ("1 hour", {}, "retention must be at least a day, such as '30 days'; got '1h'$"),
        ("forever", {"shop": "0d"}, "retention of application 'shop' must be at least a day"),
        ("forever", {"shop": None}, "retention of application 'shop' must be a duration"),
        ("forever", {" ": "1d"}, "The name of an application must not be empty"),
    ],
)
def test_mistakes_are_refused(default: object, applications: dict[str, object], message: str) -> None:
    """A mistake would erase feedback, so nothing is guessed."""
    with pytest.raises(ConfigurationError, match=message):
        Retention.parse(default, applications)
