"""What ``make demo`` runs, for real: the real model, a real server, the published clients; and what it prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from ainfera_gateway.cli.demo_server import ServerError, running_server

ROOT = Path(__file__).parents[2]
DATA_DIR = ROOT / ".cache"
SCRIPTS = Path(sys.executable).parent


def make_line(verb: str) -> str:
    """The command of a verb, as the Makefile has it."""
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", verb, f"DATA_DIR={DATA_DIR}"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return made.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def shown() -> str:
    """What the demo prints, with settings and keys around that it must not be led astray by."""
    canaries = {
        "AINFERA_PORT": "1",
        "AINFERA_SIGNUP": "off",
        "AINFERA_NO_SUCH": "1",
        "OPENAI_API_KEY": "canary-key-of-a-provider",
        "OPENAI_BASE_URL": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    argument = f"demo --data-dir {DATA_DIR}"
    assert make_line("demo").endswith(argument)
    done = subprocess.run(
        [str(SCRIPTS / "ainfera-gateway"), *argument.split(" ")],
        env=dict(os.environ) | canaries, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "canary-key" not in done.stdout
    return done.stdout


def section(shown: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}\n((?:  .*\n)+)", shown, re.MULTILINE)
    assert found, f"{name} is missing:\n{shown}"
    return found[1]


def costs(text: str) -> list[Decimal]:
    return [Decimal(amount) for amount in re.findall(r"\$(0\.0000\d+)", text)]


def test_it_fits_80_columns_and_has_no_colour_without_a_terminal(shown: str) -> None:
    assert "\x1b" not in shown
    long = [line for line in shown.splitlines() if len(line.rstrip()) > 80]
    assert all(str(DATA_DIR) in line or "http://" in line for line in long), long


def test_the_three_calls_were_answered_and_priced(shown: str) -> None:
    assert "Paris" in section(shown, "plain call")
    assert "first token after" in section(shown, "stream")
    routed = section(shown, "routed call")
    assert re.search(r"smollm2-135m-instruct +eligible", routed)
    assert "cheapest_clearing_floor" in routed
    assert routed.count("not_configured") == 5
    for name in ("plain call", "stream", "routed call"):
        (cost,) = costs(section(shown, name))
        (tokens,) = re.findall(r"(\d+) \+ (\d+) tokens", section(shown, name))
        assert cost == (int(tokens[0]) + int(tokens[1])) * Decimal("0.01") / 10**6


def test_receipts_ledger_and_balance_agree(shown: str) -> None:
    paid = [costs(section(shown, name))[0] for name in ("plain call", "stream", "routed call")]
    assert costs(section(shown, "receipts")) == paid
    ledger = section(shown, "ledger")
    debits = [Decimal(amount) for amount in re.findall(r"debit +-\$(\S+)", ledger)]
    assert debits == paid
    (balance,) = re.findall(r"balance \$(\S+):", ledger)
    assert Decimal(balance) == 5 - sum(paid)


def test_the_chain_is_proved_and_a_forgery_refused(shown: str) -> None:
    proof = section(shown, "proof")
    assert proof.count("ok ") == 5
    (events,) = re.findall(r"verified all (\d+) events", proof)
    assert f"accepted all {events} events and their signatures" in proof
    assert re.search(r"forged cost was refused by both, at event \d+", proof)
    assert re.search(r"tip [0-9a-f]{64}", proof)


def test_the_key_is_never_shown_whole(shown: str) -> None:
    (key,) = re.findall(r"key (\S+)", section(shown, "sign-up"))
    assert re.fullmatch(r"ainfera_.{4}…", key)
    assert not re.search(r"ainfera_[A-Za-z0-9_-]{10,}", shown)


def test_the_export_it_leaves_verifies_offline(shown: str) -> None:
    export = Path("".join(re.findall(r"ainfera-gateway audit verify (\S+)", shown)))
    done = subprocess.run(
        [str(SCRIPTS / "ainfera-gateway"), "audit", "verify", str(export)], capture_output=True, text=True, timeout=30
    )
    (events,) = re.findall(r"verified all (\d+) events", shown)
    assert (done.returncode, done.stdout) == (0, f"intact: {events} events\n")
    assert json.loads(export.read_text("utf-8"))["chain"]["valid"] is True


def test_the_server_is_gone_and_said_so_in_its_log(shown: str) -> None:
    (url,) = re.findall(r"listening on (http://\S+)", shown)
    done = subprocess.run(["curl", "-s", "--max-time", "5", f"{url}/health"], capture_output=True, timeout=30)
    assert done.returncode == 7  # nobody listens
    log = [json.loads(line) for line in (DATA_DIR / "demo.log").read_text("utf-8").splitlines()]
    assert sum(line["event"] == "inference" for line in log) == 3
    assert not [line for line in log if line["level"] in ("error", "critical")]


def test_a_gateway_that_does_not_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "model.gguf"
    broken.write_bytes(b"not a model")
    with pytest.raises(ServerError, match="is not a GGUF file"), running_server(tmp_path, broken, tmp_path / "log"):
        pass
