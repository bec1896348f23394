"""``ainfera-gateway audit``: verification of a chain from a file, over HTTP, or in the database itself."""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from ainfera_gateway.audit.events import VerifyResult
from ainfera_gateway.audit.keys import CHECKPOINT_KEY_FILE, KeyFileError, load_or_create_checkpoint_key
from ainfera_gateway.audit.verify_log import LogError, read_note
from ainfera_gateway.audit.verify_published import verify_bundle, verify_sdk_events, verify_verifier_events
from ainfera_gateway.cli.audit_database import fsck_database, verify_in_database
from ainfera_gateway.cli.audit_log import SeenLogs, check_proof, follow, is_proof, keys_of
from ainfera_gateway.cli.db import unreachable
from ainfera_gateway.cli.options import EXIT_FAILED, EXIT_USAGE, DatabaseUrl, DataDir, settings_of, stop
from ainfera_gateway.storage.engine import Database, SchemaError

audit_app = typer.Typer(name="audit", help="Chains of audit events.", no_args_is_help=True)

EXPORT_BYTES_MAX = 1 << 30
_PAGE = 500
_TIMEOUT_S = 30.0
_KEY_PATH = "/.well-known/ainfera-public-key.json"
SEEN_FILE = "seen_checkpoints.json"


class UnreadableError(Exception):
    """What was handed in is no chain; the message says why."""


class _NotFoundError(UnreadableError):
    """The gateway answered 404."""


@audit_app.command("verify")
def verify_command(
    file: Annotated[Path | None, typer.Argument(help="An Annex IV export (JSON or zip), or events as JSON.")] = None,
    agent: Annotated[str | None, typer.Option(help="Whose chain: an id or a handle.")] = None,
    url: Annotated[str | None, typer.Option(help="The gateway to fetch the chain from.")] = None,
    database: Annotated[bool, typer.Option("--database", help="Read the chain from the database itself.")] = False,
    key: Annotated[Path | None, typer.Option(help="The gateway's public key document, for events without one.")] = None,
    seen: Annotated[
        Path | None,
        typer.Option(help="Where checkpoints that were seen are kept.", show_default="in the data directory"),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Hash a whole chain again, or check a receipt's proof. Exit status 0: it holds, 1: it does not, 2: unreadable."""
    if file is not None and not database and is_proof(document := _json_or_none(file)):
        kept = seen or settings_of({"data_dir": data_dir}).data_dir / SEEN_FILE
        _verify_proof(document, key, None if url is None else url.rstrip("/"), SeenLogs(kept))
    if sum((file is not None, url is not None, database)) != 1 or (file is None and agent is None):
        stop("name a FILE, or --agent with --url, or --agent with --database", EXIT_USAGE)
    try:
        if file is not None:
            result = verify_export(_read(file), agent_id=agent, key_document=None if key is None else _json(_read(key)))
        elif url is not None:
            result = _verify_over_http(url.rstrip("/"), agent or "")
        else:
            settings = settings_of({"data_dir": data_dir, "database_url": database_url})
            result = verify_in_database(Database(settings.database), agent or "")
    except (UnreadableError, SchemaError, LookupError) as exc:
        stop(str(exc.args[0]), EXIT_USAGE)
    except SQLAlchemyError as exc:
        stop(unreachable(exc), EXIT_USAGE)
    _say(result)


@audit_app.command("fsck")
def fsck_command(
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that was kept: the stored log must still lead to it.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="The public key document, where the data directory is not at hand.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Derive the whole log from the database anew. Exit status 0: sound, 1: not, 2: it could not be read."""
    settings = settings_of({"data_dir": data_dir, "database_url": database_url})
    try:
        if key is not None:
            keys = keys_of(_json(_read(key)))
        else:
            path = settings.data_dir / CHECKPOINT_KEY_FILE
            if not path.exists():
                raise KeyFileError(f"there is no {path}: name the data directory, or the key document with --key")
            keys = [load_or_create_checkpoint_key(path).public_key()]
        known = None if checkpoint is None else read_note(_read(checkpoint).decode("utf-8", "replace"), keys)
        found = fsck_database(Database(settings.database), keys, known)
    except (UnreadableError, SchemaError, LogError, KeyFileError) as exc:
        stop(str(exc.args[0]), EXIT_USAGE)
    except SQLAlchemyError as exc:
        stop(unreachable(exc), EXIT_USAGE)
    for problem in found.problems:
        typer.echo(problem)
    typer.echo(
        f"{found.events} events in the log, {found.chains} chains, {found.checkpoints} checkpoints: "
        + ("sound" if not found.problems else f"{len(found.problems)} problems")
    )
    raise typer.Exit(EXIT_FAILED if found.problems else 0)


def _verify_proof(document: Any, key: Path | None, url: str | None, seen: SeenLogs) -> NoReturn:
    """Check a receipt or an event's proof; ends the command."""
    if key is None and url is None:
        stop(
            f"the checkpoint is signed: name the key document ({_KEY_PATH}) with --key, or the gateway with --url",
            EXIT_USAGE,
        )
    try:
        if url is not None:
            _check_address(url)
        keys = keys_of(_json(_read(key) if key is not None else _fetch(f"{url}{_KEY_PATH}")))
        tree = check_proof(document, keys)
        said = follow(seen, tree, keys, None if url is None else lambda path: _fetch(url + path))
    except UnreadableError as exc:
        stop(str(exc.args[0]), EXIT_USAGE)
    except LogError as exc:
        typer.echo(f"broken: {exc.args[0]}")
        raise typer.Exit(EXIT_FAILED) from None
    typer.echo(f"included in {tree.origin} at size {tree.size}; {said}")
    raise typer.Exit(0)


def _json_or_none(path: Path) -> Any:
    """The document of a file that is JSON; anything else is somebody else's to read."""
    try:
        return _json(_read(path))
    except UnreadableError:
        return None


def verify_export(data: bytes, *, agent_id: str | None = None, key_document: Any = None) -> VerifyResult:
    """The verdict on an export: an Annex IV zip or JSON document, a page of either projection, or a list of events.

    Raises ``UnreadableError`` for anything else.
    """
    if data.startswith(b"PK"):
        result = verify_bundle(data, bytes_max=EXPORT_BYTES_MAX).result
        if result.failure_reason in ("bundle_unreadable", "bundle_too_large"):
            raise UnreadableError(f"this zip is no Annex IV export: {result.failure_reason}")
        return result
    document = _json(data)
    events = document.get("events") if isinstance(document, dict) else document
    if not isinstance(events, list) or not events or not all(isinstance(event, dict) for event in events):
        raise UnreadableError("this JSON holds no list of audit events")
    if "timestamp" not in events[0]:
        return verify_sdk_events(events, agent_id=agent_id)
    if key_document is None and isinstance(document, dict):
        key_document = document.get("public_key")
    if key_document is None:
        raise UnreadableError(f"these events are signed: name the key document ({_KEY_PATH}) with --key")
    owner = agent_id or (document.get("agent_id") if isinstance(document, dict) else None)
    result = verify_verifier_events(events, _hmac_key(key_document), agent_id=owner)
    return _against_tip(result, events, document)


def _against_tip(result: VerifyResult, events: list[dict[str, Any]], document: Any) -> VerifyResult:
    """An export says where its chain ends: one that was cut at its end is as broken as one cut in the middle."""
    chain = document.get("chain") if isinstance(document, dict) else None
    if not result.valid or not isinstance(chain, dict):
        return result
    if chain.get("event_count") == len(events) and chain.get("tip_verifier_hash") == events[-1]["event_hash"]:
        return result
    return VerifyResult(len(events), valid=False, failure_seq=len(events), failure_reason="head_mismatch", last=None)


def _verify_over_http(url: str, agent: str) -> VerifyResult:
    _check_address(url)
    key = _hmac_key(_json(_fetch(url + _KEY_PATH)))
    try:
        events = list(_pages(url, agent))
    except _NotFoundError:
        raise UnreadableError(f"{url} has no agent {agent!r}, or its chain is not public") from None
    if not events:
        raise UnreadableError(f"{url} has no audit event of {agent!r}")
    return verify_verifier_events(events, key)


def _check_address(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise UnreadableError("--url must be an http:// or https:// address")


def _pages(url: str, agent: str) -> Iterable[dict[str, Any]]:
    after = ""
    while True:
        page = _json(_fetch(f"{url}/v1/agents/{urllib.parse.quote(agent, safe='')}/audit-chain?limit={_PAGE}{after}"))
        events = page.get("events") if isinstance(page, dict) else None
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            raise UnreadableError(f"{url} did not answer with audit events")
        yield from events
        if not events or not page.get("has_more"):
            return
        after = f"&after_seq={events[-1].get('seq')}"


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 - http and https only, see above
            return bytes(response.read(EXPORT_BYTES_MAX))
    except urllib.error.HTTPError as exc:
        with exc:
            kind = _NotFoundError if exc.code == HTTPStatus.NOT_FOUND else UnreadableError
            raise kind(f"{url} answered with status {exc.code}: is this a gateway's address?") from exc
    except urllib.error.URLError as exc:
        cause = exc.reason.strerror if isinstance(exc.reason, OSError) else exc.reason
        raise UnreadableError(f"{url} could not be fetched: {cause}; is a gateway running there?") from exc
    except (OSError, ValueError, http.client.HTTPException) as exc:
        cause = exc.strerror if isinstance(exc, OSError) and exc.strerror else "this is not an address that answers"
        raise UnreadableError(f"{url} could not be fetched: {cause}") from exc


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(EXPORT_BYTES_MAX)
    except OSError as exc:
        raise UnreadableError(f"{path} cannot be read: {exc.strerror}") from exc


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UnreadableError(f"this is no JSON: {_where(exc)}") from exc


def _where(exc: Exception) -> str:
    if isinstance(exc, json.JSONDecodeError):
        return f"line {exc.lineno}, column {exc.colno}"
    return "it is nested too deeply" if isinstance(exc, RecursionError) else "it is not UTF-8 text"


def _hmac_key(document: Any) -> bytes:
    try:
        return base64.b64decode(document["hmac_key_b64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        raise UnreadableError("the key document has no hmac_key_b64") from exc


def _say(result: VerifyResult) -> NoReturn:
    if result.valid:
        typer.echo(f"intact: {result.event_count} events")
        raise typer.Exit(0)
    typer.echo(
        f"broken at seq {result.failure_seq}: {result.failure_reason}; {result.event_count} events before it hold"
    )
    raise typer.Exit(EXIT_FAILED)
