"""Every table, on both engines. Money is pico-USD (BIGINT), moments are microseconds since the epoch (BIGINT).

Invariants stand in the schema: one outcome and one agent transfer a call, one row an attempt, one event a sequence
number, no balance below what is held, append-only by trigger (``APPEND_ONLY``).
"""

from __future__ import annotations

from ainfera_gateway.storage.tables.calls import (
    attempts,
    idempotency_keys,
    inferences,
    routing_outcomes,
    settlement_corrections,
)
from ainfera_gateway.storage.tables.choice import brand_verdicts, model_prices, models, providers, routing_policies
from ainfera_gateway.storage.tables.columns import metadata
from ainfera_gateway.storage.tables.evidence import (
    audit_events,
    chain_heads,
    log_checkpoints,
    log_nodes,
    log_positions,
)
from ainfera_gateway.storage.tables.house import house_state, worker_leases
from ainfera_gateway.storage.tables.identity import agent_cards, agents, api_keys, tenants
from ainfera_gateway.storage.tables.money import day_spend, holds, transfers, wallets

APPEND_ONLY = (
    "transfers",
    "inferences",
    "attempts",
    "routing_outcomes",
    "settlement_corrections",
    "audit_events",
    "log_positions",
    "log_nodes",
    "log_checkpoints",
    "brand_verdicts",
    "model_prices",
    "routing_policies",
    "settings_changes",
)
"""Tables whose rows are never changed or removed; a trigger refuses it on both engines."""

__all__ = [
    "APPEND_ONLY",
    "agent_cards",
    "agents",
    "api_keys",
    "attempts",
    "audit_events",
    "brand_verdicts",
    "chain_heads",
    "day_spend",
    "holds",
    "house_state",
    "idempotency_keys",
    "inferences",
    "log_checkpoints",
    "log_nodes",
    "log_positions",
    "metadata",
    "model_prices",
    "models",
    "providers",
    "routing_outcomes",
    "routing_policies",
    "settlement_corrections",
    "tenants",
    "transfers",
    "wallets",
    "worker_leases",
]
