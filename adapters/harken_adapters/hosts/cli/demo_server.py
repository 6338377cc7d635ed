"""Serves the demo. ``harken serve --demo`` imports it, as it needs the packages of the server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import evolve

from harken.configuration.settings import Settings
from harken_adapters.demo.serving import Demo, open_demo
from harken_adapters.hosts.cli.options import CliContext
from harken_adapters.hosts.cli.output import say
from harken_adapters.hosts.fastapi import serving
from harken_adapters.hosts.http.settings import ServerSettings

#: An example of a storage that is not temporary.
_LASTING: Final = "sqlite:///demo.db"


class PrintStart(Protocol):
    """Prints what a user has to know about a started server."""

    def __call__(self, started: serving.Started, *, command: str) -> None:
        """Print it; ``command`` is the start of a command line for the same storage."""


def serve_demo(cli: CliContext, options: Mapping[str, Any], print_start: PrintStart) -> None:
    """Serve sample feedback until interrupted.

    The server reads the settings of the demo in place of ``harken.toml``, so that nothing is sent to real channels.

    Args:
        cli: the global options. Only ``--storage`` names a storage, as that of the settings may have real feedback.
        options: the options of the server.
        print_start: prints what a user has to know.
    """
    with serving.exit_on_signal(), open_demo(cli.storage_option) as demo, _environment(demo, cli.application):
        settings = ServerSettings.load(**options)
        # Errors are reported at once, and a key can only be created in a storage that exists before.
        lasting = evolve(cli, storage_option=_LASTING) if demo.temporary else cli
        serving.check(settings, demo.storage, lasting.command)
        with serving.listen(settings):
            pass
        say("Preparing two months of feedback about the agents of Skylark, a travel company that does not exist")
        application = Settings.load(os.environ, Path.cwd()).application
        served = evolve(cli, storage_option=demo.storage)

        def on_start(started: serving.Started) -> None:
            print_start(started, command=served.command)
            say(_about(demo))

        with demo.running(application):
            serving.serve(settings, on_start, command=served.command)


@contextmanager
def _environment(demo: Demo, application: str | None) -> Iterator[None]:
    """The environment of the processes that serve the demo."""
    before = dict(os.environ)
    os.environ |= {"HARKEN_STORAGE": demo.storage, "HARKEN_CONFIG": str(demo.settings)}
    if application is not None:
        os.environ["HARKEN_APPLICATION"] = application
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _about(demo: Demo) -> str:
    kept = (
        "All data is temporary and is removed when the server ends"
        if demo.temporary
        else "The storage keeps the sample feedback when the server ends"
    )
    return f"This is a demo: a few entries are added each minute. {kept}."
