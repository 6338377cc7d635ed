"""The documentation page, which displays the OpenAPI document with Swagger UI (package ``swagger-ui-bundle``).

It loads nothing from other hosts and has no inline scripts, to allow a strict ``Content-Security-Policy``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Final

from harken_adapters.hosts import frame

_JAVASCRIPT: Final = "text/javascript; charset=utf-8"
_CSS: Final = "text/css; charset=utf-8"
_FILES: Final = {
    "swagger-ui-bundle.js": _JAVASCRIPT,
    "swagger-ui.css": _CSS,
    "favicon-32x32.png": "image/png",
}

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Harken API</title>
<link rel="icon" type="image/png" href="{assets}/favicon-32x32.png">
<link rel="stylesheet" href="{assets}/swagger-ui.css">
<link rel="stylesheet" href="{assets}/page.css">
<link rel="service-desc" type="application/json" href="{openapi}">
</head>
<body>
{header}<main id="docs">
<p>The API is described by an <a href="{openapi}">OpenAPI document</a>.</p>
<noscript>
<p>With JavaScript enabled, this page shows each operation in detail and lets you call it.</p>
<ul>
{operations}
</ul>
</noscript>
</main>
<script src="{assets}/swagger-ui-bundle.js" defer></script>
<script src="{script}" defer></script>
</body>
</html>
"""

_SIGN_OUT: Final = """\
<form method="post" action="{url}"><button>Sign out</button></form>
"""

# Swagger UI has light colours only. Inverting them and rotating the hues back preserves the colours of the methods. The
# filter does not apply to the whole page, as the credentials dialog would no longer be fixed to the window.
_STYLE: Final = (
    frame.STYLE
    + b"""\
.top .in { max-width: 1420px; }
header form { margin: 0 0 0 auto; }
header button { padding: 6px 12px; border: 1px solid var(--control); border-radius: var(--r1); background: none;
  color: var(--ink); font: 500 14px/20px var(--sans); cursor: pointer; }
main > p, noscript { display: block; max-width: 1420px; margin: 0 auto; padding: 24px 20px 0; }
noscript p { margin: 0; }
main a { color: var(--accent); }
@media (prefers-color-scheme: dark) {
  .swagger-ui { color-scheme: light; }
  .swagger-ui .scheme-container { background: var(--surface); }
  .swagger-ui .information-container, .swagger-ui .scheme-container ~ .wrapper, .swagger-ui .auth-wrapper > .authorize,
  .swagger-ui .modal-ux { filter: invert(0.92) hue-rotate(180deg); }
  .swagger-ui .highlight-code, .swagger-ui .curl-command { filter: invert(1) hue-rotate(180deg); }
}
"""
)

# This version of Swagger UI supports OpenAPI 3.0 only, so the script converts the document from 3.1.
_SCRIPT: Final = """\
"use strict";

const UNCHANGED = ["enum", "example", "examples", "default"];

function toOpenApi30(node) {
  if (Array.isArray(node)) return node.map(toOpenApi30);
  if (node === null || typeof node !== "object") return node;
  const converted = {};
  for (const [name, part] of Object.entries(node)) {
    converted[name] = UNCHANGED.includes(name) ? part : toOpenApi30(part);
  }
  if (Array.isArray(node.type)) {
    const types = node.type.filter((type) => type !== "null");
    if (types.length < node.type.length) converted.nullable = true;
    if (types.length === 1) converted.type = types[0];
    else delete converted.type;
  }
  if (Array.isArray(node.anyOf) && node.anyOf.some((schema) => schema.type === "null")) {
    converted.anyOf = converted.anyOf.filter((schema) => schema.type !== "null");
    converted.nullable = true;
  }
  if (typeof node.const === "string") {
    converted.enum = [node.const];
    delete converted.const;
  }
  return converted;
}

async function show() {
  const answer = await fetch(__OPENAPI__);
  if (!answer.ok) throw new Error(`the server responded with status ${answer.status}`);
  SwaggerUIBundle({
    spec: { ...toOpenApi30(await answer.json()), openapi: "3.0.3" },
    dom_id: "#docs",
    deepLinking: true,
    validatorUrl: null,
  });
}

show().catch((error) => {
  document.getElementById("docs").append(`The document cannot be displayed: ${error.message}`);
});
"""


def page(
    openapi_url: str,
    assets_url: str,
    script_url: str,
    sign_out_url: str | None = None,
    operations: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The page, as HTML. URLs may be relative to the page.

    Args:
        openapi_url: the URL of the OpenAPI document.
        assets_url: the prefix of the URLs of assets, see :func:`asset`, without a trailing slash.
        script_url: the URL of :func:`script`.
        sign_out_url: the URL for signing out; ``None`` if the browser is not signed in.
        operations: the operations, for browsers without scripts: method and path, and summary.
    """
    sign_out = _SIGN_OUT.format(url=escape(sign_out_url)) if sign_out_url else ""
    lines = (f"<li><code>{escape(asked)}</code> {escape(summary)}</li>" for asked, summary in operations)
    return _PAGE.format(
        openapi=escape(openapi_url),
        assets=escape(assets_url),
        script=escape(script_url),
        header=frame.HEADER.format(more=sign_out),
        operations="\n".join(lines),
    ).encode()


def script(openapi_url: str) -> bytes:
    """The script that starts Swagger UI. A relative URL is relative to the page."""
    return _SCRIPT.replace("__OPENAPI__", json.dumps(openapi_url)).encode()


def asset(name: str) -> tuple[bytes, str] | None:
    """A file that the page loads, and its media type; ``None`` for an unknown name."""
    if name == "page.css":
        return _STYLE, _CSS
    if (media_type := _FILES.get(name)) is None:
        return None
    vendored = files("swagger_ui_bundle") / "vendor"
    found = next(folder for folder in vendored.iterdir() if folder.name.startswith("swagger-ui-"))
    return (found / name).read_bytes(), media_type
