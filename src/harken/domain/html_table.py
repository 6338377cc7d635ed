"""Tables in HTML, which notebooks show for a value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal


def html_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    note: str = "",
    *,
    align: Literal["left", "right"] = "right",
) -> str:
    """Return a table, with a note below it. Every text is escaped."""
    from html import escape  # noqa: PLC0415 - keeps `import harken` light

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(f'<{tag} style="text-align: {align}">{escape(text)}</{tag}>' for text in texts)

    head, body = cells("th", headings), "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    below = f"<p>{escape(note)}</p>" if note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
