"""Command line of the simulator: `python -m tests.simulator --port 0 --log FILE`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .dialect import Dialect
from .dialect_anthropic import AnthropicDialect
from .dialect_embeddings import EmbeddingsDialect
from .dialect_openai import OpenAIDialect
from .dialect_responses import ResponsesDialect
from .families import FAMILIES, OPENAI
from .log import AttemptLog
from .script import DirectiveError, Script, merge, parse_block
from .server import Application, serve


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulator", description="A strict, scriptable model provider."
    )
    parser.add_argument("--port", type=int, default=0, help="loopback port; 0 picks a free one")
    parser.add_argument("--log", type=Path, required=True, help="file of attempts, appended to")
    parser.add_argument("--models", default="", help="names served, separated by commas; empty: any")
    parser.add_argument("--lenient", action="store_true", help="let unknown top-level fields pass")
    parser.add_argument("--default", default="", help="directive for requests that no rule or message directs")
    parser.add_argument("--no-fsync", action="store_true", help="do not wait for the disk before an answer")
    parser.add_argument("--log-bodies", action="store_true", help="write whole request bodies into the log")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input ends")
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if options.exit_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, stopped)
    models = [name for name in options.models.split(",") if name]
    log = AttemptLog(options.log, fsync=not options.no_fsync)
    script = Script(merge([parse_block(options.default)]))
    dialects = _dialects(models, lenient=options.lenient)
    await serve(Application(dialects, log, script, log_bodies=options.log_bodies), options.port, stopped)
    log.close()


def _dialects(models: Sequence[str], *, lenient: bool) -> list[Dialect]:
    """Every dialect, those of a family before OpenAI itself, which serves all paths that are left."""
    made: list[Dialect] = [AnthropicDialect(models)]
    for family in (*FAMILIES, OPENAI):
        made += [EmbeddingsDialect(family), ResponsesDialect(family)]
        made.append(OpenAIDialect(models, lenient=lenient, family=family))
    return made


def _stop_at_end(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stopped.set()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM. Exit code 2 for a wrong flag or directive."""
    options = _arguments(argv)
    try:
        asyncio.run(_run(options))
    except DirectiveError as error:
        print(f"--default: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
