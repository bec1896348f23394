"""The command as a person and as a supervisor meet it: starts, refusals, the banner, doctor, the schema."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ainfera_gateway.cli.limits import AgentLimits, Switch
from ainfera_gateway.settings import READERS
from ainfera_gateway.version import __version__
from tests.gateway_process import GatewayProcess, provider_environment
from tests.simulator.process import Simulator

COMMAND = str(Path(sys.executable).parent / "ainfera-gateway")
SECRETS = {
    "AINFERA_INTERNAL_KEY": "internal-canary-93f1c7aa50",
    "AINFERA_DATA_KEY": "ab" * 32,
    "OPENAI_API_KEY": "canary-openai-5d2e9b71c4",
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [COMMAND, *arguments], env=kept | environment, capture_output=True, text=True, timeout=110, check=False
    )


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    for word in ("ainfera-gateway: ", *words):
        assert word in done.stderr


def test_it_says_its_version_and_its_commands() -> None:
    assert run("version").stdout == f"{__version__}\n"
    helped = run("--help").stdout
    for command in ("serve", "demo", "doctor", "db", "audit", "local", "version"):
        assert re.search(rf"│ {command}\b", helped)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AINFERA_PROT": "8000"}, "AINFERA_PROT: unknown setting; did you mean AINFERA_PORT?"),
        ({"AINFERA_PORT": "eighty"}, "AINFERA_PORT: must be a whole number between 0 and 65535"),
        ({"AINFERA_SPEND_KILLSWITCH_USD": "0"}, "AINFERA_SPEND_KILLSWITCH_USD: must be above 0"),
        ({"AINFERA_CONFIG": "missing.toml"}, "AINFERA_CONFIG: there is no file at missing.toml"),
        ({"AINFERA_WORKERS": "4"}, "AINFERA_WORKERS: SQLite serves one process, not 4"),
        ({"AINFERA_DATABASE_URL": "postgresql://h:port/a"}, "AINFERA_DATABASE_URL: its host or port is malformed"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "localhost:1"}, "OPENAI_BASE_URL: must be an http"),
        ({"AINFERA_LOCAL_MODEL": "missing.gguf"}, "AINFERA_LOCAL_MODEL: there is no model at missing.gguf"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    port = {} if "AINFERA_PORT" in environment else {"AINFERA_PORT": "0"}
    assert_one_line(run("serve", "--data-dir", str(tmp_path), **(port | environment)), 2, said)


def test_a_wrong_flag_is_said_as_the_setting_is(tmp_path: Path) -> None:
    done = run("serve", "--port", "eighty", "--data-dir", str(tmp_path))
    assert_one_line(done, 2, "AINFERA_PORT: must be a whole number between 0 and 65535")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AINFERA_HOST": "192.0.2.7"}, "set AINFERA_HOST (--host) to an address of this machine"),
        ({"AINFERA_DATA_KEY": "short"}, "AINFERA_DATA_KEY is 32 bytes"),
        (
            {"AINFERA_DATABASE_URL": "postgresql://me:canary-password@127.0.0.1:1/a"},
            "AINFERA_DATABASE_URL: the database",
        ),
    ],
)
def test_what_keeps_it_from_starting_is_said_with_its_setting(
    environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = run("serve", "--port", "0", "--data-dir", str(tmp_path), **environment)
    assert_one_line(done, 1, said)
    for leak in ("Errno", "Traceback", "canary-password"):
        assert leak not in done.stderr


def test_a_data_directory_that_is_a_file_is_said_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("serve", "--port", "0", "--data-dir", str(tmp_path / "file"))
    assert_one_line(done, 1, "AINFERA_DATA_DIR: ", "cannot be used")
    assert "Errno" not in done.stderr


def test_a_local_model_that_was_not_pulled_is_a_hint(tmp_path: Path) -> None:
    done = run("serve", "--port", "0", "--local-model", "smollm2", "--data-dir", str(tmp_path))
    assert_one_line(done, 2, f"run `ainfera-gateway local pull --data-dir {tmp_path}`")


def test_a_model_file_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGML")
    done = run("serve", "--port", "0", "--local-model", str(tmp_path / "model.gguf"), "--data-dir", str(tmp_path / "d"))
    assert_one_line(done, 1, "not a GGUF file")


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), "--data-dir", str(tmp_path))
        assert_one_line(done, 1, f"cannot listen on 127.0.0.1:{port}", "another AINFERA_PORT (--port")
        assert "Errno" not in done.stderr


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    import sqlite3

    assert run("db", "migrate", "--data-dir", str(tmp_path)).returncode == 0
    with sqlite3.connect(tmp_path / "ainfera.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert_one_line(run("serve", "--port", "0", "--data-dir", str(tmp_path)), 1, "9999", "upgrade the gateway")
    assert_one_line(run("db", "migrate", "--data-dir", str(tmp_path)), 1, "9999")


def test_the_schema_is_shown_and_brought_up_to_date(tmp_path: Path) -> None:
    before = run("db", "status", "--data-dir", str(tmp_path))
    assert before.returncode == 1
    assert "not there yet" in before.stdout
    assert list(tmp_path.iterdir()) == []  # looking makes nothing
    assert run("db", "migrate", "--data-dir", str(tmp_path)).returncode == 0
    assert run("db", "status", "--data-dir", str(tmp_path)).returncode == 0
    assert "already" in run("db", "migrate", "--data-dir", str(tmp_path)).stdout


def test_an_unreachable_database_shows_no_password() -> None:
    url = "postgresql://me:canary-password@127.0.0.1:1/none?connect_timeout=2"
    for command in (("db", "status"), ("doctor",)):
        done = run(*command, "--database-url", url)
        assert_one_line(done, 1, "the database cannot be used")
        assert "canary-password" not in done.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        environment = provider_environment(simulator.base_url, "MISTRAL") | SECRETS
        environment |= {
            "LOCAL_BASE_URL": simulator.base_url,
            "LOCAL_API_KEY": "canary-local-1b7e",
            "AINFERA_LOG_LEVEL": "error",
        }
        with GatewayProcess(tmp_path_factory.mktemp("data"), environment) as gateway:
            yield gateway


def test_ready_is_one_line_whatever_the_level(running: GatewayProcess) -> None:
    assert len(running.raw) == 1
    (line,) = running.log
    assert line["event"] == "ready"
    assert line["models"] == ["gpt-5-5", "mistral-large-3", "smollm2-135m-instruct"]
    assert line["version"] == __version__
    assert httpx.get(f"{line['url']}/health", timeout=60).json() == {"status": "ok"}
    assert not any(secret in running.raw[0] for secret in SECRETS.values())


def test_answers_name_the_port_that_was_found(running: GatewayProcess) -> None:
    key = running.signup("port-agent")["api_key"]
    with running.client(key) as client:
        body = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "hello"}]}
        answer = client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        assert answer.headers["x-ainfera-audit-url"].startswith(f"{running.url}/v1/audit/")
        assert client.get(answer.headers["x-ainfera-audit-url"]).json()["valid"] is True


def test_a_second_gateway_on_the_same_file_is_refused(running: GatewayProcess) -> None:
    assert_one_line(run("serve", "--port", "0", "--data-dir", str(running.data_dir)), 1, "another gateway")


def test_doctor_shows_the_running_gateway_an_agents_limits_and_no_secret(running: GatewayProcess) -> None:
    bundle = running.signup("capped-agent", per_call_cap_usd="0.10", daily_cap_usd="1.00")
    for reference in ("capped-agent", bundle["agent_id"]):
        # Nothing of what the gateway was started with stands in this environment.
        done = run("doctor", "--agent", reference, "--data-dir", str(running.data_dir), COLUMNS="300")
        assert done.returncode == 0, done.stdout
        shown = {line[:14].strip(): line[14:].strip() for line in done.stdout.splitlines()}
        assert shown["gateway"].startswith(f"{running.url}, process {running.pid}, version {__version__}")
        assert f"http://{shown['listens on']}" == running.url
        assert shown["models"] == "gpt-5-5, mistral-large-3, smollm2-135m-instruct"
        assert shown["providers"] == "local, mistral, openai"
        assert shown["balance"] == "$5.00, $0.00 of it held"
        assert shown["per-call cap"] == "$0.10"
        assert shown["daily cap"] == "$1.00, $0.00 spent today"
        assert shown["next call"] == "may cost up to $0.10: the per-call cap"
        assert shown["internal key"] == "set"
        assert not any(secret in done.stdout + done.stderr for secret in (*SECRETS.values(), bundle["api_key"]))


def test_doctor_fails_on_what_stands_in_the_way(running: GatewayProcess) -> None:
    bundle = running.signup("suspended-agent")
    with running.client(bundle["api_key"]) as client:
        assert client.post(f"/v1/agents/{bundle['agent_id']}/suspend").status_code == 200
    done = run("doctor", "--agent", "suspended-agent", "--data-dir", str(running.data_dir))
    assert done.returncode == 1
    assert "suspended-agent cannot make a call" in done.stdout
    unknown = run("doctor", "--agent", "nobody-here", "--data-dir", str(running.data_dir))
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("ainfera-gateway: there is no agent 'nobody-here' in sqlite:///")
    for shown in (done, unknown):
        assert "no model can be called" not in shown.stdout


def test_doctor_without_a_gateway_shows_what_this_shell_would_give(tmp_path: Path) -> None:
    assert run("db", "migrate", "--data-dir", str(tmp_path)).returncode == 0
    bare = run("doctor", "--data-dir", str(tmp_path), AINFERA_PORT="8123", COLUMNS="300")
    assert bare.returncode == 1
    assert "none is running here" in bare.stdout
    assert "127.0.0.1:8123" in bare.stdout
    assert "! no model can be called: set one of the variables above" in bare.stdout
    unknown = run("doctor", "--agent", "nobody-here", "--data-dir", str(tmp_path), LOCAL_BASE_URL="http://127.0.0.1:1")
    assert unknown.returncode == 2
    assert "no model can be called" not in unknown.stdout


def test_doctor_sees_the_kill_switch(running: GatewayProcess) -> None:
    headers = {"x-ainfera-internal-key": SECRETS["AINFERA_INTERNAL_KEY"]}
    with running.client() as client:
        assert client.put("/admin/killswitch", json={"engaged": True}, headers=headers).status_code == 200
        try:
            done = run("doctor", "--data-dir", str(running.data_dir))
        finally:
            assert client.put("/admin/killswitch", json={"engaged": False}, headers=headers).status_code == 200
    assert done.returncode == 1
    assert "engaged by hand" in done.stdout


AGENT = AgentLimits(
    id="i", handle="h", owner_handle="o", status="active", allowed_brands=None,
    per_call_cap_picousd=None, daily_cap_picousd=None, monthly_cap_picousd=None,
    balance_picousd=500, held_picousd=100, day_spent_picousd=30, month_spent_picousd=70,
)  # fmt: skip
RELEASED = Switch(by_hand=False, enabled=True, threshold_picousd=1000, spent_picousd=30)


@pytest.mark.parametrize(
    ("changed", "switch", "most", "because"),
    [
        ({}, RELEASED, 400, "balance"),
        ({"per_call_cap_picousd": 50}, RELEASED, 50, "per-call"),
        ({"daily_cap_picousd": 200}, RELEASED, 70, "daily"),
        ({"monthly_cap_picousd": 180}, RELEASED, 10, "monthly"),
        ({"daily_cap_picousd": 100}, RELEASED, 0, "daily"),
        ({"status": "suspended"}, RELEASED, 0, "suspended"),
        ({}, Switch(by_hand=True, enabled=False, threshold_picousd=1000, spent_picousd=0), 0, "kill switch"),
        ({}, Switch(by_hand=False, enabled=True, threshold_picousd=30, spent_picousd=30), 0, "kill switch"),
        ({}, Switch(by_hand=False, enabled=False, threshold_picousd=30, spent_picousd=30), 400, "balance"),
    ],
)
def test_the_next_limit(changed: dict[str, object], switch: Switch, most: int, because: str) -> None:
    agent = AgentLimits(**{name: getattr(AGENT, name) for name in AgentLimits.__slots__} | changed)  # type: ignore[arg-type]
    amount, named = agent.next_call(switch)
    assert amount == most
    assert because in named


def test_a_terminal_gets_a_banner_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100", **SECRETS}
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", "--data-dir", str(tmp_path)],
        env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    try:
        # The banner's last line.
        text = re.sub(r"\x1b\[[0-9;]*m", "", read_until(controller, '"max_tokens": 60}\''))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert "Ainfera gateway" in text
    assert re.search(r"models +gpt-5-5", text)
    assert "ANTHROPIC_API_KEY" in text
    assert "OPENAI_API_KEY" not in text  # it is set: nothing is missing there
    assert '"model": "ainfera-inference"' in text
    assert re.search(r"curl -s http://127\.0\.0\.1:\d+/v1/agents/signup", text)
    assert "my-agent-'$RANDOM'" in text  # pasted twice it makes two agents
    assert '"event":"ready"' not in text
    assert not any(secret in text for secret in SECRETS.values())


def read_until(descriptor: int, wanted: str, timeout_s: float = 60.0) -> str:
    """What the terminal showed until ``wanted`` stood there."""
    seen, end = b"", time.monotonic() + timeout_s
    while wanted.encode() not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise AssertionError(f"{wanted!r} did not come:\n{seen.decode()}")
        seen += os.read(descriptor, 4096)
    return seen.decode()


def test_settings_of_the_command_line_are_settings_of_the_house() -> None:
    helped = run("serve", "--help").stdout
    flags = set(re.findall(r"--([a-z][a-z-]+)", helped)) - {"help"}
    assert flags == {"host", "port", "data-dir", "database-url", "log-level", "local-model", "workers"}
    assert {f"AINFERA_{flag.upper().replace('-', '_')}" for flag in flags} <= set(READERS)


def test_the_file_of_a_running_gateway_lives_as_long_as_the_gateway(tmp_path: Path) -> None:
    def files() -> list[Path]:
        return [path for path in tmp_path.iterdir() if "serving-" in path.name]

    gateway = GatewayProcess(tmp_path, {**SECRETS, "AINFERA_RATE_LIMIT_RPM": "77"}).start()
    try:
        (left,) = files()
        text = left.read_text("utf-8")
        assert left.stat().st_mode & 0o777 == 0o600
        assert (json.loads(text)["pid"], json.loads(text)["settings"]["rate_limit_rpm"]) == (gateway.pid, 77)
        assert not any(secret in text for secret in SECRETS.values())
        gateway.signup("some-agent")
    finally:
        gateway.kill()
    assert files() == [left]  # it was killed, and nobody took the file away
    assert "none is running here" in run("doctor", "--data-dir", str(tmp_path), COLUMNS="300").stdout
    gateway.start()
    try:
        (fresh,) = files()
        assert fresh != left
        # Before its first tick, after a restart: the height that the chains have.
        assert httpx.get(f"{gateway.url}/readyz", timeout=60).json()["chain_height"] >= 4
    finally:
        assert gateway.stop() == 0
    assert files() == []


def test_log_lines_are_json_from_the_first_to_the_last(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, SECRETS).start()
    assert gateway.stop() == 0
    assert gateway.raw
    for line in gateway.raw:
        assert json.loads(line)["event"]
