"""`Simulator`: the simulator as a child process, with its log read back. For synchronous tests."""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the provider saw it: the line written before its answer, and the line after it (None: open)."""

    begin: Mapping[str, Any]
    end: Mapping[str, Any] | None

    @property
    def outcome(self) -> str | None:
        """`complete`, `reset`, `truncated`, `client_gone`, `error`; None while the answer runs."""
        return None if self.end is None else str(self.end["outcome"])


class Simulator:
    """Starts the simulator on a free loopback port and ends it. A context manager.

    `directory` keeps the log (default: a temporary one, removed at the end); `default` is a directive for all requests.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        models: Sequence[str] = (),
        lenient: bool = False,
        default: str = "",
        fsync: bool = True,
        log_bodies: bool = False,
        port: int = 0,
    ) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="simulator-")
            directory = Path(self._temporary.name)
        self.log_path = directory / "attempts.jsonl"
        self._command = [sys.executable, "-m", "tests.simulator", "--port", str(port), "--log", str(self.log_path)]
        self._command += ["--models", ",".join(models), "--default", default, "--exit-with-stdin"]
        for flag, wanted in (("--lenient", lenient), ("--no-fsync", not fsync), ("--log-bodies", log_bodies)):
            self._command += [flag] if wanted else []
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    def start(self, timeout_s: float = 60.0) -> Self:
        """Returns once the simulator listens. Raises `RuntimeError` when it does not within the time."""
        process = subprocess.Popen(self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process = process
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout_s)
        line = process.stdout.readline() if ready else b""
        if not line:
            self.kill()
            raise RuntimeError("the simulator did not start; its standard error says why")
        self.port = int(json.loads(line)["port"])
        return self

    @property
    def pid(self) -> int:
        """Process id of the running simulator."""
        if self._process is None:
            raise RuntimeError("the simulator is not running")
        return self._process.pid

    @property
    def root_url(self) -> str:
        """`http://127.0.0.1:PORT`, for the control paths."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as base URL."""
        return f"{self.root_url}/v1"

    def stop(self) -> int:
        """Ends it with SIGTERM; returns the exit code. The log stays readable until `__exit__`."""
        return self._end(subprocess.Popen.terminate)

    def kill(self) -> int:
        """Ends it with SIGKILL, as a crash would."""
        return self._end(subprocess.Popen.kill)

    def seen(self) -> list[Seen]:
        """Every POST in the order of the log."""
        begins: dict[int, Mapping[str, Any]] = {}
        ends: dict[int, Mapping[str, Any]] = {}
        data = self.log_path.read_bytes() if self.log_path.exists() else b""
        # Bytes, because text knows more ends of lines than the log writes; the last piece is a line not yet whole.
        for line in data.split(b"\n")[:-1]:
            record = json.loads(line)
            (ends if record["event"] == "end" else begins)[record["request"]] = record
        return [Seen(begin, ends.get(number)) for number, begin in begins.items()]

    def attempts(self) -> dict[str | None, list[Seen]]:
        """The POSTs by their `x-client-request-id` (None: without one). Sent once means a list of one."""
        grouped: dict[str | None, list[Seen]] = {}
        for seen in self.seen():
            grouped.setdefault(seen.begin["attempt"], []).append(seen)
        return grouped

    def script(self, *do: str, times: int = 1, **match: Any) -> None:
        """Appends a rule: these directives for the next `times` requests that fit.

        What fits is said by `model`, `path`, `stream`, `key_suffix`, `contains` and `nth`. Raises `ValueError` for a
        rule the simulator does not understand.
        """
        status, answer = self.control("POST", "/_script", {"do": list(do), "match": match, "times": times})
        if status != 200:
            raise ValueError(answer["error"])

    def clear_script(self) -> None:
        """Drops all rules and the counters of `times`."""
        self.control("DELETE", "/_script")

    def ack(self, attempt: str) -> dict[str, Any]:
        """Lets a `wait_ack` stream send its next event, or a `hold` begin. Returns `{attempt, acks, sent}`."""
        return cast("dict[str, Any]", self.control("GET", "/_ack?" + urlencode({"attempt": attempt}))[1])

    def ack_to_the_end(self, attempt: str) -> None:
        """Acknowledges until the attempt has ended, one way or the other."""
        while any(live["attempt"] == attempt for live in self.live()):
            self.ack(attempt)

    def live(self) -> list[dict[str, Any]]:
        """The open attempts: `{attempt, request, sent}`."""
        return cast("list[dict[str, Any]]", self.control("GET", "/_live")[1])

    def wait_idle(self, timeout_s: float = 30.0) -> bool:
        """True once no attempt is open, so that every line of the log is there; False after `timeout_s`."""
        path = f"/_idle?timeout_ms={int(timeout_s * 1000)}"
        return bool(self.control("GET", path, timeout_s=timeout_s + 30)[1]["idle"])

    def count(self) -> int:
        """POSTs logged since the process started."""
        return int(self.control("GET", "/log/count")[1]["attempts"])

    def control(self, method: str, path: str, value: object = None, *, timeout_s: float = 30.0) -> tuple[int, Any]:
        """One request to a control path; returns status and decoded JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body=None if value is None else json.dumps(value))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def _end(self, how: Any) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            how(process)
        code = process.wait(timeout=60)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
