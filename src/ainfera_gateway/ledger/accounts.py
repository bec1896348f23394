"""The accounts of the house, and one transfer between two of them as a row."""

from __future__ import annotations

from typing import Any

from ainfera_gateway.ids import new_id

GRANTS = "house:grants"
TOPUP = "external:topup"
REVENUE = "house:revenue"
UNRECONCILED = "house:unreconciled"
FAILED_ATTEMPTS = "house:failed_attempts"

LEDGER_KINDS = ("grant", "topup", "debit", "refund", "adjustment")
"""The kinds an agent sees in its ledger."""


def agent_account(agent_id: str) -> str:
    """The account of one agent's wallet."""
    return f"agent:{agent_id}"


def transfer(
    *,
    debit: str,
    credit: str,
    amount_picousd: int,
    kind: str,
    now_us: int,
    agent_id: str | None = None,
    inference_id: str | None = None,
    balance_after_picousd: int | None = None,
    memo: str | None = None,
) -> dict[str, Any]:
    """One row of ``transfers``: balanced by construction, amount in pico-USD and never negative.

    What leaves an account is its debit, what arrives is the other's credit.
    """
    return {
        "id": new_id(),
        "agent_id": agent_id,
        "inference_id": inference_id,
        "debit_account": debit,
        "credit_account": credit,
        "amount_picousd": amount_picousd,
        "kind": kind,
        "memo": memo,
        "balance_after_picousd": balance_after_picousd,
        "created_us": now_us,
    }
