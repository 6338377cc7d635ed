"""``manage.py harken ...``: the command ``harken`` on the storage of the project."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harken import ConfigurationError
from harken_adapters.hosts.cli import main
from harken_adapters.hosts.django.configuration import Configuration


class Command(BaseCommand):
    """Hands everything on; without ``--storage``, with that of the project."""

    help = "The command harken on the storage of this project, such as: manage.py harken stats"
    requires_system_checks: list[str] = []  # noqa: RUF012 - so Django has it

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take them as they are, where other code calls the command."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def run_from_argv(self, argv: list[str]) -> None:
        """Run it as it was typed. Of its options none is Django's, but for those that Django has taken by now."""
        taken = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        taken.add_argument("--settings")
        taken.add_argument("--pythonpath")
        try:
            sys.exit(main(taken.parse_known_args(argv[2:])[1], storage=_storage()))
        except ConfigurationError as error:
            self.stderr.write(str(error))
            sys.exit(2)

    def handle(self, *_: Any, arguments: list[str], **__: Any) -> None:
        """Run it for ``call_command("harken", "stats")``.

        Raises:
            CommandError: it failed; why was told on stderr.
        """
        if code := main(arguments, storage=_storage()):
            raise CommandError(f"harken {' '.join(arguments)} failed", returncode=code)


def _storage() -> str | None:
    said = Configuration.load()
    if said.harken is not None:
        raise ConfigurationError("HARKEN['HARKEN'] is open in its own process; commands need HARKEN['STORAGE']")
    return said.storage
