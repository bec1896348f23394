"""The generated parts of the docs: ``python -m tests.docs_generate`` writes them, ``test_docs.py`` compares them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from ainfera_gateway.catalog.seed import SEED_PROVIDERS, seed_catalog
from ainfera_gateway.inference.lifecycle import TERMINAL_EVENT, TRANSITIONS
from ainfera_gateway.money import format_usd
from ainfera_gateway.settings import READERS, Settings
from tests.clients.provider_models import CLAUDE, MODELS, RESPONSES

ROOT = Path(__file__).parent.parent

MEANING = {
    "AINFERA_HOST": "address to listen on",
    "AINFERA_PORT": "port; 0 takes any free one",
    "AINFERA_DATA_DIR": "where keys, the SQLite file and the local model lie",
    "AINFERA_DATABASE_URL": "`sqlite:///path` or `postgresql://…`; unset: `ainfera.db` in the data directory",
    "AINFERA_AUTO_MIGRATE": "1: `serve` migrates PostgreSQL too (SQLite is always migrated, after a backup)",
    "AINFERA_WORKERS": "processes that serve the port; more than 1 needs PostgreSQL (`serve --workers`)",
    "AINFERA_INTERNAL_KEY": "the operator's key, for `/admin`, `/metrics` and what is closed to agents; unset: nobody",
    "AINFERA_DATA_KEY": "seals secrets at rest; unset: made in the data directory, readable by its owner alone",
    "AINFERA_PUBLIC_URL": "the address that answers name; unset: host and port",
    "AINFERA_SIGNUP": "`open`, `internal` or `off`; unset: `open` on loopback, else `internal`",
    "AINFERA_SIGNUP_GRANT_USD": "what a new agent's wallet starts with",
    "AINFERA_TOPUP": "`self` or `operator`; unset: `self` on loopback, else `operator`",
    "AINFERA_MCP_URL": "the MCP address that discovery names",
    "AINFERA_DID_HOST": "the host in `did:web` and canonical URIs",
    "AINFERA_SPEND_KILLSWITCH_USD": "spend of all agents in a UTC day past which calls are refused",
    "AINFERA_SPEND_KILLSWITCH_ENABLED": "0: spend never engages the switch (a hand still does)",
    "AINFERA_KILLSWITCH_PINNED": "0: calls that name their model pass when spend engaged it",
    "AINFERA_DISCONNECT_DRAIN_S": "how long to wait for a provider's usage after the caller left, in seconds",
    "AINFERA_DRAIN_S": "how long running calls may go on after SIGTERM, in seconds",
    "AINFERA_KEEP_OUTCOMES_DAYS": "how many whole UTC days outcomes of calls are kept; 0: for ever",
    "AINFERA_LOG_LEVEL": "`debug`, `info`, `warning` or `error`",
    "AINFERA_RATE_LIMIT_RPM": "calls a minute for each agent",
    "AINFERA_ATTEMPT_TIMEOUT_S": "silence of a provider after which an attempt is given up, in seconds",
    "AINFERA_CALL_TIMEOUT_S": "time for a call with all its attempts, in seconds",
    "AINFERA_LOCAL_MODEL": "`smollm2` (or 1) for the model that `local pull` fetches, or the path of a GGUF file",
}

CLIENTS = {
    "openai": (
        "the OpenAI SDK",
        (
            "sync and async: chat plain and streamed, stream helpers, tools, structured outputs, images, embeddings, "
            "models, errors; every provider; models of other dialects"
        ),
        ("tests/integration/test_readme.py", "tests/system/test_demo.py"),
    ),
    "anthropic": (
        "the Anthropic SDK",
        (
            "sync and async: messages plain and streamed, tool runners, threads, thinking with signatures, structured "
            "outputs, images and documents, caching, token counts, betas, models, errors; models of other dialects"
        ),
        ("tests/integration/test_readme.py",),
    ),
    "langchain-openai": ("LangChain for OpenAI", "calls, streams, a tool loop, structured output, embeddings", ()),
    "langchain-anthropic": ("LangChain for Anthropic", "calls, streams, a tool loop, structured output, thinking", ()),
    "pydantic-ai-slim": ("PydanticAI", "agents with a tool, streamed runs, structured output, in both dialects", ()),
    "mcp": ("the MCP SDK, as client and server", "an agent's life over the public routes", ()),
    "ainfera": (
        "the Ainfera SDK",
        "sync and async: sign-up, calls, wallet, ledger, audit, errors",
        ("tests/integration/test_readme.py", "tests/system/test_demo.py"),
    ),
    "ainfera-verify": (
        "the offline verifier",
        "chains, receipts and bundles",
        ("tests/unit/test_audit_golden.py", "tests/system/test_demo.py", "tests/clients/test_ainfera_verify.py"),
    ),
}
"""Package to what it is, what was run, and the tests; those below ``tests/clients`` that import it are added."""

IMPORTED_AS = {"pydantic-ai-slim": "pydantic_ai"}


def settings_table() -> str:
    """Every setting of ``READERS``, in their order. Raises ``KeyError`` for one without a meaning."""
    defaults = {field.name: field.default for field in fields(Settings)}
    lines = ["| Name | Built in | Meaning |", "|---|---|---|"]
    for name, (attribute, _) in READERS.items():
        lines.append(f"| `{name}` | {_shown(attribute, defaults[attribute])} | {MEANING[name]} |")
    return "\n".join(lines)


def _shown(attribute: str, default: Any) -> str:
    if attribute.endswith("_picousd"):
        return f"`{format_usd(default).rstrip('0').rstrip('.')}`"
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`" if str(default) else "unset"


def providers_table() -> str:
    lines = ["| Provider | Key | Base URL of your own | Built in |", "|---|---|---|---|"]
    for provider in SEED_PROVIDERS:
        key = f"`{provider.api_key_env}`" + ("" if provider.key_required else " (optional)")
        base = f"`{provider.base_url}`" if provider.base_url else "none"
        lines.append(f"| {provider.display_name} | {key} | `{provider.base_url_env}` | {base} |")
    return "\n".join(lines)


def lifecycle_diagram() -> str:
    """The legal transitions and the event that ends each kind of call."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> accepted"]
    for state, followers in TRANSITIONS.items():
        lines += [f"    {state} --> {follower}" for follower in sorted(followers)]
        if not followers:
            lines.append(f"    {state} --> [*]")
    lines += ["```", "", "| Outcome | The event that ends it |", "|---|---|"]
    lines += [f"| `{outcome}` | `{event}` |" for outcome, event in TERMINAL_EVENT.items()]
    return "\n".join(lines)


def clients_table() -> str:
    """Client, version of the lock, what was run and where. Raises ``LookupError`` for one not locked or not run."""
    lock = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    lines = ["| Client | Version | What was run | Run by |", "|---|---|---|---|"]
    sources = {path: path.read_text("utf-8") for path in sorted((ROOT / "tests" / "clients").rglob("test_*.py"))}
    for package, (what, ran, named) in CLIENTS.items():
        pinned = re.search(rf"^{re.escape(package)}==(\S+)", lock, re.MULTILINE)
        module = IMPORTED_AS.get(package, package.replace("-", "_"))
        imports = re.compile(rf"^\s*(?:from|import) {module}\b", re.MULTILINE)
        found = [path.relative_to(ROOT).as_posix() for path, text in sources.items() if imports.search(text)]
        tests = (*named, *found)
        if pinned is None or not tests:
            raise LookupError(f"{package} is not in the lock, or nothing runs it")
        lines.append(f"| `{package}`, {what} | {pinned[1]} | {ran} | {', '.join(f'`{path}`' for path in tests)} |")
    return "\n".join(lines)


def dialects_table() -> str:
    """How each provider's models are reached from each dialect, and the model that clients are run with."""
    catalog = seed_catalog()
    embedders = {model.provider for model in catalog.models.values() if model.makes_embeddings}
    asked = {**{provider: [slug] for provider, slug in MODELS.items()}, "anthropic": [CLAUDE]}
    asked["openai"].append(RESPONSES)
    lines = [
        "| Provider | `/v1/chat/completions` | `/v1/messages` | `/v1/embeddings` | Run with |",
        "|---|---|---|---|---|",
    ]
    for provider in SEED_PROVIDERS:
        for slug in asked.get(provider.slug, ()):
            wire = catalog.models[slug].wire or provider.wire
            chat = "as is" if wire == "openai_chat" else "translated"
            messages = "as is" if wire == "anthropic_messages" else "translated"
            vectors = "as is" if provider.slug in embedders and slug != RESPONSES else "-"
            lines.append(f"| {provider.display_name} | {chat} | {messages} | {vectors} | `{slug}` |")
    return "\n".join(lines)


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("docs/settings.md", settings_table),
    "providers": ("docs/settings.md", providers_table),
    "lifecycle": ("docs/architecture.md", lifecycle_diagram),
    "clients": ("docs/compatibility.md", clients_table),
    "dialects": ("docs/compatibility.md", dialects_table),
}


def with_part(text: str, name: str, body: str) -> str:
    """``text`` with the generated part ``name`` replaced. Raises ``LookupError`` when its marks are missing."""
    marks = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- /generated -->)", re.DOTALL)
    made, count = marks.subn(lambda found: f"{found[1]}{body}\n{found[2]}", text)
    if count != 1:
        raise LookupError(f"the marks of {name} stand {count} times")
    return made


def main() -> None:
    for name, (path, make) in PARTS.items():
        file = ROOT / path
        file.write_text(with_part(file.read_text("utf-8"), name, make()), "utf-8")


if __name__ == "__main__":
    main()
