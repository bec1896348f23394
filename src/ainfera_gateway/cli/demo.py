"""``ainfera-gateway demo``: real inference on this machine, routed, streamed, paid and proved, in front of your eyes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ainfera_gateway.cli.audit import verify_export
from ainfera_gateway.cli.demo_server import RunningServer, ServerError, running_server
from ainfera_gateway.cli.demo_show import Show
from ainfera_gateway.cli.local import DEFAULT_DATA_DIR, pull_with_bar
from ainfera_gateway.cli.options import EXIT_FAILED, stop
from ainfera_gateway.providers.local.model_file import SMOLLM2, ModelFileError, is_intact, model_path

if TYPE_CHECKING:
    from ainfera_gateway.cli.demo_calls import Call, Walk

_EXIT_INTERRUPTED = 130
_EXIT_TERMINATED = 143
_QUESTIONS = (
    "What is the capital of France? Answer in one short sentence.",
    "Explain in one sentence what a ledger is.",
    "Name the primary colours.",
)


def demo_command(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where the model and the demo's data go.")] = (
        DEFAULT_DATA_DIR
    ),
) -> None:
    """Start a gateway with a small local model, make three calls through published clients, and prove them."""
    try:
        import ainfera  # noqa: F401
        import ainfera_verify  # type: ignore[import-untyped]  # noqa: F401
        import openai  # noqa: F401
    except ImportError as exc:
        stop(f"the demo uses the published clients ({exc}): pip install openai ainfera ainfera-verify", EXIT_FAILED)
    show = Show(Console(highlight=False))
    # Whoever ends us must not leave the gateway behind; and calls to this machine must not go through a proxy.
    signal.signal(signal.SIGTERM, _terminated)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1")))
    try:
        _demo(show, data_dir)
    except KeyboardInterrupt:
        show.note("stopped")
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    except (ModelFileError, ServerError) as exc:
        show.failure(str(exc))
        raise typer.Exit(EXIT_FAILED) from None
    except Exception as exc:  # noqa: BLE001 - whatever a client raises, the demo has failed and says where
        show.failure(f"{type(exc).__name__}: {exc}")
        show.note(f"the gateway's log: {data_dir / 'demo.log'}")
        raise typer.Exit(EXIT_FAILED) from None


def _demo(show: Show, data_dir: Path) -> None:
    from ainfera_gateway.cli.demo_calls import Walk

    show.title()
    model = _model(show, data_dir)
    show.step("gateway")
    log = data_dir / "demo.log"
    with running_server(data_dir, model, log) as server:
        show.gateway(server, log)
        show.step("sign-up")
        walk = Walk(server.url)
        try:
            show.signup(walk)
            calls = _calls(show, walk, server)
            _paid(show, walk, calls)
            _proved(show, walk, data_dir)
        finally:
            walk.close()
    show.end(data_dir)


def _model(show: Show, data_dir: Path) -> Path:
    show.step("model")
    path = model_path(data_dir)
    found = is_intact(path)
    if not found:
        path = pull_with_bar(data_dir, show.console)
    show.model(SMOLLM2.slug, path, found=found)
    return path


def _calls(show: Show, walk: Walk, server: RunningServer) -> list[Call]:
    model = server.models[0]
    plain, streamed, routed = _QUESTIONS
    show.step("plain call")
    show.question(f'OpenAI SDK, model="{model}"', plain)
    calls = [walk.plain(model, plain)]
    show.answer(calls[-1])
    show.step("stream")
    show.question("OpenAI SDK, stream=True", streamed)
    calls.append(walk.stream(model, streamed, show.token))
    show.streamed(calls[-1])
    show.step("routed call")
    show.question('ainfera SDK, model="ainfera-inference", routing_hint={"min_quality": 0}', routed)
    calls.append(walk.routed(routed))
    show.answer(calls[-1])
    show.decision(walk.decision(calls[-1]))
    return calls


def _paid(show: Show, walk: Walk, calls: list[Call]) -> None:
    show.step("receipts")
    receipts = [walk.receipt(call) for call in calls]
    show.receipts(calls, receipts)
    show.step("ledger")
    show.ledger(*walk.ledger(calls))


def _proved(show: Show, walk: Walk, data_dir: Path) -> None:
    show.step("proof")
    show.proof(walk.prove())
    export = data_dir / "demo.annex-iv.json"
    export.write_text(json.dumps(walk.annex_iv(), indent=1), "utf-8")
    result = verify_export(export.read_bytes())
    if not result.valid:
        raise RuntimeError(f"the export does not verify: {result.failure_reason} at seq {result.failure_seq}")
    show.export(export)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    sys.exit(_EXIT_TERMINATED)
