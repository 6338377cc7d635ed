"""The app, as Django wants to be told of it."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed

from harken_adapters.hosts.django.checks import check_access, check_settings
from harken_adapters.hosts.django.configuration import forget


class HarkenConfig(AppConfig):
    """Has no models, and so no migrations: feedback is in Harken's own storage."""

    name = "harken_adapters.hosts.django"
    label = "harken"

    def ready(self) -> None:
        """Look at the settings when Django does, and again when a test changes them."""
        checks.register(check_settings)
        checks.register(check_access, deploy=True)
        setting_changed.connect(_forget, dispatch_uid="harken")


def _forget(*, setting: str, **_: object) -> None:
    if setting == "HARKEN":
        forget()
