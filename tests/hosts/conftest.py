"""What tests of hosts share: a Harken behind a real socket."""

from collections.abc import Iterator

import pytest

from harken import Harken
from hosts.serving import Server, served


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """The Harken of the test, served openly."""
    with served(hk) as serving:
        yield serving
