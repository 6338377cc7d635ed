"""Presets for the exports of other programs; each is a mapping file in this folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from harken.domain.texts import no_such
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.presets.mapping_file import parse_mapping

_SUFFIX: Final = ".toml"


def names() -> Sequence[str]:
    """The names of all presets, sorted."""
    found = [file.name for file in files(__package__).iterdir()]
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def text(name: str) -> str:
    """The mapping file of a preset, which users can copy and change.

    Raises:
        UnusableFile: the preset is unknown.
    """
    known = names()
    if name not in known:
        raise UnusableFile(no_such("preset", name, known))
    return files(__package__).joinpath(f"{name}{_SUFFIX}").read_text("utf-8")


def preset(name: str) -> ImportOptions:
    """The options of a preset.

    Raises:
        UnusableFile: the preset is unknown.
    """
    return parse_mapping(text(name), f"The preset {name}")
