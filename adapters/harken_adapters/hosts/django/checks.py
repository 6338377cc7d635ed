"""System checks of the settings. They do not open the storage."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from django.core import checks

from harken import ConfigurationError
from harken.configuration.storage_urls import check_served
from harken_adapters.hosts.django.configuration import Configuration

_HINT: Final = "HARKEN = {'STORAGE': 'sqlite:///feedback.db', 'SERVER': {'access': 'keys'}} is an example."
_OPEN: Final = "Anyone may read, change and erase all feedback, unless the project protects the URLs of Harken."
_OPEN_HINT: Final = (
    "Set HARKEN['SERVER']['access'] to 'keys', and create a key with 'manage.py harken keys create --scope admin'."
)


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Check that the settings are valid."""
    try:
        loaded = Configuration.load()
        if loaded.harken is None and loaded.storage is not None:
            check_served(loaded.storage)
    except ConfigurationError as error:
        return [checks.Error(str(error), hint=_HINT, id="harken.E001")]
    return []


def check_access(**_: Any) -> list[checks.CheckMessage]:
    """Warn if access is open. This is a deployment check."""
    with suppress(ConfigurationError):
        if Configuration.load().server.access == "open":
            return [checks.Warning(_OPEN, hint=_OPEN_HINT, id="harken.W001")]
    return []
