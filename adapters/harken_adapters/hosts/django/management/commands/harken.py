"""``manage.py harken ...``: the command line of Harken, with the storage of the project."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harken import ConfigurationError
from harken_adapters.hosts.cli import main
from harken_adapters.hosts.django.configuration import Configuration


class Command(BaseCommand):
    """Runs the command line of Harken. ``--storage`` defaults to the storage of the project."""

    help = "Run the command harken with the storage of this project, such as: manage.py harken stats"
    requires_system_checks: list[str] = []  # noqa: RUF012 - as in Django

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Accept all arguments, for ``call_command``."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command with its arguments, except the options that Django has already processed."""
        django_options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        django_options.add_argument("--settings")
        django_options.add_argument("--pythonpath")
        try:
            sys.exit(main(django_options.parse_known_args(argv[2:])[1], storage=_storage()))
        except ConfigurationError as error:
            self.stderr.write(str(error))
            sys.exit(2)

    def handle(self, *_: Any, arguments: list[str], **__: Any) -> None:
        """Run the command for ``call_command("harken", "stats")``.

        Raises:
            CommandError: the command failed. It has printed the reason to stderr.
        """
        if code := main(arguments, storage=_storage()):
            raise CommandError(f"harken {' '.join(arguments)} failed", returncode=code)


def _storage() -> str | None:
    loaded = Configuration.load()
    if loaded.harken is not None:
        raise ConfigurationError(
            "Commands cannot use HARKEN['HARKEN'] of another process; set HARKEN['STORAGE'] instead"
        )
    return loaded.storage
