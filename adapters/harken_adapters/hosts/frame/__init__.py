"""What all HTML pages share: the colours, light and dark, the header bar, buttons, fields and notes."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

#: The header bar; ``{more}`` is HTML at its end.
HEADER: Final = """\
<header class="top"><div class="in">
<span class="brand"><svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="5.5" cy="12" r="2.6"/>\
<path d="M10.5 6.6a7.2 7.2 0 0 1 0 10.8M14.6 3.6a12 12 0 0 1 0 16.8M18.7 1.4a16.6 16.6 0 0 1 0 21.2"/></svg>
<span>Harken</span></span>
{more}</div></header>
"""

_FILES: Final = files(__package__)
#: The style sheet of the colours, the text and the header bar.
STYLE: Final = _FILES.joinpath("frame.css").read_bytes()
#: The style sheet of titles, buttons, fields and notes, for pages with :data:`STYLE`.
CONTROLS: Final = _FILES.joinpath("controls.css").read_bytes()
