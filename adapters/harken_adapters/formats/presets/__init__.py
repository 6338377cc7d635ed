"""Mappings of the exports of other programs: presets, which are the files in this folder, and files like them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from harken.domain.texts import no_such
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.presets.mapping_file import options_of, parse_mapping, read_mapping

__all__ = ["options_of", "parse_mapping", "preset", "preset_drops", "preset_names", "preset_text", "read_mapping"]

_SUFFIX: Final = ".toml"


def preset_names() -> Sequence[str]:
    """The names of all presets, sorted."""
    found = [file.name for file in files(__package__).iterdir()]
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def preset_text(name: str) -> str:
    """The mapping file of a preset, which users can copy and change.

    Raises:
        UnusableFile: the preset is unknown.
    """
    known = preset_names()
    if name not in known:
        raise UnusableFile(no_such("preset", name, known))
    return files(__package__).joinpath(f"{name}{_SUFFIX}").read_text("utf-8")


def preset_drops() -> frozenset[str]:
    """The columns that presets leave out. A file has those of one version of its program."""
    return frozenset(column for name in preset_names() for column in preset(name).drop)


def preset(name: str) -> ImportOptions:
    """The options of a preset.

    Raises:
        UnusableFile: the preset is unknown.
    """
    return parse_mapping(preset_text(name), f"The preset {name}")
