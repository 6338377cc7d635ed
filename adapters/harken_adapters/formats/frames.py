"""Feedback as tables of libraries for data analysis, for ``Harken.to_arrow`` and its siblings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harken import Feedback
from harken.configuration.extras import requires


def to_arrow(feedback: Iterable[Feedback]) -> Any:
    """A ``pyarrow.Table``.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    with requires("to_arrow", "files"):
        from harken_adapters.formats.arrow import to_table  # noqa: PLC0415

    return to_table(feedback)


def to_pandas(feedback: Iterable[Feedback]) -> Any:
    """A ``pandas.DataFrame``.

    Raises:
        MissingExtra: pandas or pyarrow is not installed.
    """
    with requires("to_pandas", "pandas"):
        import pandas  # type: ignore[import-untyped] # noqa: F401, PLC0415 - needed by to_pandas below

        from harken_adapters.formats.arrow import to_table  # noqa: PLC0415

    return to_table(feedback).to_pandas()


def to_polars(feedback: Iterable[Feedback]) -> Any:
    """A ``polars.DataFrame``.

    Raises:
        MissingExtra: polars or pyarrow is not installed.
    """
    with requires("to_polars", "polars"):
        import polars  # noqa: PLC0415

        from harken_adapters.formats.arrow import to_table  # noqa: PLC0415

    return polars.from_arrow(to_table(feedback))
