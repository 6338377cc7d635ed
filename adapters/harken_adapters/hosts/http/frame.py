"""The common parts of all HTML pages: the colours, light and dark, and the header bar."""

from __future__ import annotations

from typing import Final

#: The header bar; ``{more}`` is HTML at its end.
HEADER: Final = """\
<header>
<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="5.5" cy="12" r="2.6"/>\
<path d="M10.5 6.6a7.2 7.2 0 0 1 0 10.8M14.6 3.6a12 12 0 0 1 0 16.8M18.7 1.4a16.6 16.6 0 0 1 0 21.2"/></svg>
<span>Harken</span>
{more}</header>
"""

STYLE: Final = b"""\
:root {
  color-scheme: light dark;
  --ground: #f7f7f3; --surface: #fff; --line: #e3e3dd; --text: #1d1b26; --quiet: #5d5b66; --accent: #4a3ecc;
  --on-accent: #fff; --error: #a31621; --error-ground: #fde3e3; --edge: #8d8b96;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16151c; --surface: #1e1d26; --line: #33313d; --text: #f0eff5; --quiet: #aeacb8; --accent: #a79fff;
    --on-accent: #16151c; --error: #ffb3b3; --error-ground: #4a1f24; --edge: #7c7a87;
  }
}
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.45 Inter, system-ui, sans-serif; }
header { display: flex; gap: 8px; align-items: center; padding: 16px 40px; background: var(--surface);
  border-bottom: 1px solid var(--line); font-weight: 600; }
header svg { width: 22px; fill: none; stroke: var(--accent); stroke-width: 2.1; stroke-linecap: round; }
header circle { fill: var(--accent); stroke: none; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
code { font: 13px ui-monospace, monospace; }
"""
