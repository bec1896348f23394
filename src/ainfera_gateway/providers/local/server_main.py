"""The child process that runs the local model: ``python -m ainfera_gateway.providers.local.server_main``.

Protocol with the parent: the first line of standard input is the API key (never argv, which every user of the machine
can read); once the model answers, one line of JSON ``{"port": N}`` goes to standard output. After that both output
streams are closed to the world, so that no native log line can carry a prompt anywhere. The end of standard input
means that the parent is gone or wants us gone.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_NICENESS = 5
_LOG_ERRORS_ONLY = 1
_HTTP_THREADS = 64
_PROMPT_CACHE_MIB = 256
_DESCRIPTORS_MAX = 65_536


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="server_main")
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True, help="of all slots together")
    return parser.parse_args(argv)


def _die_with_parent() -> None:
    """Linux ends us with the parent even while a native call keeps us from noticing that standard input ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _serve(options: argparse.Namespace, api_key: str) -> object:
    """Load the model and start its HTTP server in native threads; return it once it listens."""
    import xllamacpp  # here, so that a broken installation is reported like any other failure to start

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.api_keys = [api_key]
    params.cors_origins = "http://127.0.0.1"  # the default lets any web page that the machine's owner visits ask
    params.n_ctx = options.context_tokens
    params.n_parallel = options.slots
    params.n_gpu_layers = 0
    params.fit_params = False  # what was asked for, or an error: never a silently smaller context
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.n_threads_http = _HTTP_THREADS  # each waiting call holds one
    params.cache_ram_mib = _PROMPT_CACHE_MIB  # the default may take 8 GiB
    params.verbosity = _LOG_ERRORS_ONLY
    params.ui = False
    params.endpoint_slots = False  # it shows prompts
    return xllamacpp.Server(params)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until standard input ends; exit status 1 with the reason on standard error if the model cannot start."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    _die_with_parent()
    os.closerange(3, _DESCRIPTORS_MAX)  # uvloop leaves copies of the pipes, and of what it inherited, in us
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)  # the gateway's loop goes first on a machine with few cores
    api_key = sys.stdin.readline().strip()
    if not api_key:
        sys.exit("no API key on standard input")
    ready_fd = os.dup(1)
    os.dup2(2, 1)  # native code that prints must not reach the protocol
    try:
        server = _serve(options, api_key)
        port = int(str(getattr(server, "listening_address")).rpartition(":")[2])  # noqa: B009 - a native attribute
    except Exception as exc:  # noqa: BLE001 - whatever it is, the parent must hear it
        sys.exit(f"{type(exc).__name__}: {exc}")
    os.write(ready_fd, json.dumps({"port": port}).encode() + b"\n")
    os.close(ready_fd)
    null_fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_fd, 1)
    os.dup2(null_fd, 2)
    while os.read(0, 4096):
        pass  # the parent has nothing more to say; only the end of the stream counts
    os._exit(0)  # a running generation must not delay the end


if __name__ == "__main__":
    main()
