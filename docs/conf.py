"""How Sphinx builds these pages. Nothing is fetched, neither when they are built nor when they are read."""

from importlib.metadata import version as version_of

from pygments.lexers.javascript import TypeScriptLexer
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "Harken"
author = "The Harken maintainers"
release = version = version_of("harken")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "Harken"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False


def setup(app: Sphinx) -> None:
    """Pygments knows neither CSV nor Svelte, and no custom elements in JSX."""
    app.add_lexer("csv", TextLexer)
    app.add_lexer("svelte", TextLexer)
    app.add_lexer("tsx", TypeScriptLexer)
