"""The page that shows the OpenAPI document, with Swagger UI from the package ``swagger-ui-bundle``.

It loads nothing from anywhere else and has no inline script, so that a strict ``Content-Security-Policy`` holds.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Final

_JAVASCRIPT: Final = "text/javascript; charset=utf-8"
_FILES: Final = {
    "swagger-ui-bundle.js": _JAVASCRIPT,
    "swagger-ui.css": "text/css; charset=utf-8",
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
<link rel="service-desc" type="application/json" href="{openapi}">
</head>
<body>
{sign_out}<main id="docs"><p>The API is described in <a href="{openapi}">an OpenAPI document</a>.</p></main>
<script src="{assets}/swagger-ui-bundle.js" defer></script>
<script src="{script}" defer></script>
</body>
</html>
"""

_SIGN_OUT: Final = """\
<form method="post" action="{url}" style="text-align: right; padding: 12px 20px 0"><button>Sign out</button></form>
"""

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


def page(openapi_url: str, assets_url: str, script_url: str, sign_out_url: str | None = None) -> bytes:
    """The page, in HTML. URLs may be relative to where it is found.

    Args:
        openapi_url: where the OpenAPI document is.
        assets_url: what the names that :func:`asset` knows stand behind, without a slash at the end.
        script_url: where :func:`script` is.
        sign_out_url: where a browser that is signed in signs out; ``None`` for one that is not.
    """
    urls = {"openapi": openapi_url, "assets": assets_url, "script": script_url}
    sign_out = _SIGN_OUT.format(url=escape(sign_out_url)) if sign_out_url else ""
    return _PAGE.format_map({**{name: escape(url) for name, url in urls.items()}, "sign_out": sign_out}).encode()


def script(openapi_url: str) -> bytes:
    """What starts Swagger UI on the page; a relative URL is relative to the page."""
    return _SCRIPT.replace("__OPENAPI__", json.dumps(openapi_url)).encode()


def asset(name: str) -> tuple[bytes, str] | None:
    """A file of Swagger UI that the page needs, with its media type; ``None`` for any other name."""
    if (media_type := _FILES.get(name)) is None:
        return None
    vendored = files("swagger_ui_bundle") / "vendor"
    found = next(folder for folder in vendored.iterdir() if folder.name.startswith("swagger-ui-"))
    return (found / name).read_bytes(), media_type
