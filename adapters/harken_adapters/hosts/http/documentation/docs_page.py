"""The page that shows the OpenAPI document, with Swagger UI from the package ``swagger-ui-bundle``.

It loads nothing from anywhere else and has no inline script, so that a strict ``Content-Security-Policy`` holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Final

from harken_adapters.hosts.http import frame

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
<p>The API is described in <a href="{openapi}">an OpenAPI document</a>.</p>
<noscript>
<p>With JavaScript, this page shows each operation and lets you try it.</p>
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

# Swagger UI has light colours only. Inverting them and rotating the hues back keeps the colours of the methods. The
# filter is not for all of it, as the dialog for credentials would no longer be fixed to the window.
_STYLE: Final = (
    frame.STYLE
    + b"""\
header form { margin: 0 0 0 auto; }
header button { padding: 8px 14px; border: 1px solid var(--edge); border-radius: 7px; background: none;
  color: var(--text); font: 500 14px Inter, system-ui, sans-serif; cursor: pointer; }
main > p, noscript { display: block; max-width: 1420px; margin: 0 auto; padding: 24px 40px 0; }
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

# This Swagger UI knows OpenAPI 3.0, so that it gets what 3.1 says anew in the words of 3.0.
_SCRIPT: Final = """\
"use strict";

const AS_THEY_ARE = ["enum", "example", "examples", "default"];

function inWordsOf30(node) {
  if (Array.isArray(node)) return node.map(inWordsOf30);
  if (node === null || typeof node !== "object") return node;
  const told = {};
  for (const [name, part] of Object.entries(node)) {
    told[name] = AS_THEY_ARE.includes(name) ? part : inWordsOf30(part);
  }
  if (Array.isArray(node.type)) {
    const types = node.type.filter((type) => type !== "null");
    if (types.length < node.type.length) told.nullable = true;
    if (types.length === 1) told.type = types[0];
    else delete told.type;
  }
  if (Array.isArray(node.anyOf) && node.anyOf.some((schema) => schema.type === "null")) {
    told.anyOf = told.anyOf.filter((schema) => schema.type !== "null");
    told.nullable = true;
  }
  if (typeof node.const === "string") {
    told.enum = [node.const];
    delete told.const;
  }
  return told;
}

async function show() {
  const answer = await fetch(__OPENAPI__);
  if (!answer.ok) throw new Error(`it was answered with ${answer.status}`);
  SwaggerUIBundle({
    spec: { ...inWordsOf30(await answer.json()), openapi: "3.0.3" },
    dom_id: "#docs",
    deepLinking: true,
    validatorUrl: null,
  });
}

show().catch((error) => {
  document.getElementById("docs").append(`It cannot be shown here: ${error.message}`);
});
"""


def page(
    openapi_url: str,
    assets_url: str,
    script_url: str,
    sign_out_url: str | None = None,
    operations: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The page, in HTML. URLs may be relative to where it is found.

    Args:
        openapi_url: where the OpenAPI document is.
        assets_url: what the names that :func:`asset` knows stand behind, without a slash at the end.
        script_url: where :func:`script` is.
        sign_out_url: where a browser that is signed in signs out; ``None`` for one that is not.
        operations: what is listed where there are no scripts: a method and path, and a summary.
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
    """What starts Swagger UI on the page; a relative URL is relative to the page."""
    return _SCRIPT.replace("__OPENAPI__", json.dumps(openapi_url)).encode()


def asset(name: str) -> tuple[bytes, str] | None:
    """A file that the page needs, with its media type; ``None`` for any other name."""
    if name == "page.css":
        return _STYLE, _CSS
    if (media_type := _FILES.get(name)) is None:
        return None
    vendored = files("swagger_ui_bundle") / "vendor"
    found = next(folder for folder in vendored.iterdir() if folder.name.startswith("swagger-ui-"))
    return (found / name).read_bytes(), media_type
