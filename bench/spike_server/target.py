"""One candidate server as a process of its own: started, watched through its stdout, measured, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
from typing import Any

import psutil  # type: ignore[import-untyped]

HEAD_TIMEOUT_S = 2
DRAIN_S = 3
CANDIDATES = ("uvicorn", "granian", "gateway")


def command(name: str, port: int) -> list[str]:
    if name != "granian":
        return [sys.executable, "-m", "bench.spike_server.target", name, str(port)]
    options = "--interface asgi --workers 1 --loop uvloop --http 1 --no-ws --no-log --backlog 2048"
    timeouts = f"--http1-header-read-timeout {HEAD_TIMEOUT_S * 1000} --workers-kill-timeout {DRAIN_S}"
    return [
        *(sys.executable, "-m", "granian", "--port", str(port)),
        *options.split(),
        *timeouts.split(),
        "bench.spike_server.app:app",
    ]


class Target:
    def __init__(self, name: str) -> None:
        self.name = name
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.process: asyncio.subprocess.Process
        self.seen: list[dict[str, Any]] = []
        self._family: list[psutil.Process] = []
        self._reader: asyncio.Task[None]

    async def start(self) -> Target:
        self.process = await asyncio.create_subprocess_exec(
            *command(self.name, self.port), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        self._reader = asyncio.create_task(self._read())
        for _ in range(200):
            try:
                _, writer = await self.connect()
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                self._family = self.processes()
                return self
        raise RuntimeError(f"{self.name} did not start")

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"{"):
                self.seen.append(json.loads(line))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)

    async def event(self, what: str, within_s: float = 4.0) -> dict[str, Any] | None:
        """The first thing of this kind the app said, or None if it said nothing in time."""
        for _ in range(int(within_s / 0.02)):
            for line in self.seen:
                if line["what"] == what:
                    return line
            await asyncio.sleep(0.02)
        return None

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_s(self) -> float:
        return sum(sum(p.cpu_times()[:2]) for p in self.processes())

    def rss_kib(self) -> int:
        return int(sum(p.memory_info().rss for p in self.processes()) // 1024)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """End it and what it started; by force if it does not end by itself."""
        if self.process.returncode is None:
            self.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), 2 * DRAIN_S + 2)
        for member in self._family:
            if member.is_running():
                member.kill()
        await self.process.wait()
        await self._reader


def main() -> None:
    from bench.spike_server.app import app

    name, port = sys.argv[1], int(sys.argv[2])
    if name == "gateway":
        from ainfera_gateway.cli.http_protocol import ServerLimits
        from ainfera_gateway.cli.server import run_server

        limits = ServerLimits(head_timeout_s=HEAD_TIMEOUT_S)
        run_server(app, host="127.0.0.1", port=port, on_ready=lambda _: None, drain_s=DRAIN_S, limits=limits)
    else:
        import uvicorn

        uvicorn.run(
            app,
            port=port,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=75,
        )


if __name__ == "__main__":
    main()
