"""Imports of hosts and adapters whose extra is not installed."""

import re
import subprocess
import sys
from importlib.metadata import metadata

import pytest


@pytest.mark.parametrize(
    ("module", "package", "what", "extra"),
    [
        ("hosts.fastapi", "starlette", "The FastAPI host", "server"),
        ("hosts.fastapi", "jwt", "The FastAPI host", "server"),
        ("hosts.flask", "flask", "The Flask host", "flask"),
        ("hosts.flask", "jwt", "The Flask host", "flask"),
        ("hosts.django", "django", "The Django host", "django"),
        ("hosts.django", "jwt", "The Django host", "django"),
        ("hosts.wsgi", "jwt", "The WSGI host", "http"),
        ("tokens", "jwt", "Minting tokens and links", "tokens"),
        ("hosts.wsgi", "limits", "The WSGI host", "http"),
        ("hosts.mcp", "mcp", "The MCP server", "mcp"),
        ("hosts.strands", "strands", "The Strands host", "strands"),
        ("hosts.session_manager", "strands", "The session manager", "strands"),
        ("client", "httpx", "The client", "client"),
        ("storage.mongodb", "pymongo", "MongoDB", "mongodb"),
        ("notifiers.webhook", "httpx", "A webhook", "webhooks"),
    ],
)
def test_a_missing_package_names_the_extra(module: str, package: str, what: str, extra: str) -> None:
    """The import raises ``MissingExtra`` with the command that installs the package."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import harken\n"
        "try:\n"
        f"    import harken_adapters.{module}\n"
        "except harken.MissingExtra as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    message = f'{what} needs the package {package!r}; try pip install "harken[{extra}]"\n'
    assert (done.stdout, done.stderr) == (message, "")


@pytest.mark.parametrize(
    ("url", "package", "says"),
    [
        ("mongodb://x/y", "pymongo", "MongoDB needs the package 'pymongo'; try pip install \"harken[mongodb]\""),
        ("mongomock://", "pymongo", "MongoDB needs the package 'pymongo'; try pip install \"harken[mongodb]\""),
        ("mongomock://", "mongomock", 'try pip install "harken[mongodb]" mongomock'),
    ],
)
def test_a_missing_package_of_a_storage_names_an_extra_that_exists(url: str, package: str, says: str) -> None:
    """That of the scheme; the package for tests has none."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import harken\n"
        "try:\n"
        f"    harken.connect({url!r})\n"
        "except harken.MissingExtra as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert says in done.stdout
    (extra,) = re.findall(r"harken\[(\w+)\]", done.stdout)
    assert extra in (metadata("harken").get_all("Provides-Extra") or ())
