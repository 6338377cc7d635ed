"""Mappings of the exports of other programs: presets, and files of the same form."""

from __future__ import annotations

from harken_adapters.formats.presets.mapping_file import parse_mapping, read_mapping
from harken_adapters.formats.presets.presets import names, preset, text

__all__ = ["names", "parse_mapping", "preset", "read_mapping", "text"]
