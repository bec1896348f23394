"""The page at ``/docs``: the OpenAPI document as plain HTML, without script and without anything from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font-family:ui-monospace,monospace}dt{margin-top:.6rem}dd{margin:0 0 0 1.5rem;color:#444}"
    "h2{margin-top:2rem;border-bottom:1px solid #ccc}b{display:inline-block;min-width:4.5rem}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}dd{color:#aaa}a{color:#8cf}}"
)


def docs_page(document: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    info = document["info"]
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            sections.setdefault(tag, []).append("".join(_operation(path, method, operation)))
    body = "".join(f"<h2>{html.escape(tag)}</h2><dl>{''.join(operations)}</dl>" for tag, operations in sections.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{html.escape(info['title'])}</h1><p>{html.escape(info.get('description', ''))}</p>"
        f'<p>Machine-readable: <a href="/openapi.json">/openapi.json</a></p>{body}</body></html>'
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<dt><code><b>{html.escape(method.upper())}</b>{html.escape(path)}</code></dt><dd>"
    yield html.escape(operation.get("description") or operation.get("summary") or "")
    asked = [each for each in operation.get("parameters", ()) if each["in"] == "query"]
    if asked:
        names = ", ".join(f"{each['name']}{'' if each.get('required') else '?'}" for each in asked)
        yield f"<br>Query: <code>{html.escape(names)}</code>"
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    fields = schema.get("properties", {})
    if fields:
        required = set(schema.get("required", ()))
        names = ", ".join(f"{name}{'' if name in required else '?'}" for name in fields)
        yield f"<br>Body: <code>{html.escape(names)}</code>"
    yield "</dd>"
