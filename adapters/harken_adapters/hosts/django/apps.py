"""The Django app configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed

from harken_adapters.hosts.django.checks import check_access, check_settings
from harken_adapters.hosts.django.configuration import reset


class HarkenConfig(AppConfig):
    """The app of Harken. It has no models and migrations, as feedback is in Harken's own storage."""

    name = "harken_adapters.hosts.django"
    label = "harken"

    def ready(self) -> None:
        """Register the system checks, and reload the settings when a test changes them."""
        checks.register(check_settings)
        checks.register(check_access, deploy=True)
        setting_changed.connect(_reset, dispatch_uid="harken")


def _reset(*, setting: str, **_: object) -> None:
    if setting == "HARKEN":
        reset()
