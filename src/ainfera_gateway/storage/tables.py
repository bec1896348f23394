"""Every table, on both engines. Money is pico-USD (BIGINT), moments are microseconds since the epoch (BIGINT).

Invariants stand in the schema: one outcome and one agent transfer a call, one row an attempt, one event a sequence
number, no balance below what is held, append-only by trigger (``APPEND_ONLY``).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _big(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _id(name: str = "id") -> Column[str]:
    return Column(name, Text, primary_key=True)


tenants = Table(
    "tenants",
    metadata,
    _id(),
    _text("owner_handle"),
    _text("owner_source"),
    _text("owner_contact", null=True),
    _text("audit_visibility"),
    _big("created_us"),
    CheckConstraint("audit_visibility IN ('public', 'private')", name="visibility"),
)

agents = Table(
    "agents",
    metadata,
    _id(),
    Column("tenant_id", Text, ForeignKey("tenants.id"), nullable=False),
    _text("owner_handle"),
    _text("handle"),
    _text("name"),
    _text("status"),
    _text("public_key_pem"),
    _text("private_key_sealed"),
    _text("kid"),
    _text("wallet_address", null=True),
    _text("metadata", null=True),
    _big("per_call_cap_picousd", null=True),
    _big("daily_cap_picousd", null=True),
    _big("monthly_cap_picousd", null=True),
    _text("allowed_brands", null=True),
    _text("preset", null=True),
    _big("created_us"),
    UniqueConstraint("owner_handle", "handle"),
    Index(None, "tenant_id", "id"),
    Index(None, "handle"),
    CheckConstraint("status IN ('active', 'suspended')", name="status"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    Column("tenant_id", Text, ForeignKey("tenants.id"), nullable=False),
    _text("agent_id", null=True),
    _text("scope"),
    _text("key_hash"),
    _text("prefix"),
    _text("name", null=True),
    _big("created_us"),
    _big("revoked_us", null=True),
    UniqueConstraint("key_hash"),
    Index(None, "tenant_id"),
    CheckConstraint("scope IN ('owner', 'inference')", name="scope"),
)

agent_cards = Table(
    "agent_cards",
    metadata,
    _id(),
    _text("agent_id"),
    _text("kid"),
    _text("jws"),
    _text("payload"),
    _big("issued_us"),
    Index(None, "agent_id", "id"),
)

wallets = Table(
    "wallets",
    metadata,
    _id("agent_id"),
    _text("tenant_id"),
    _big("balance_picousd"),
    _big("held_picousd"),
    _text("day"),
    _big("day_spent_picousd"),
    _text("month"),
    _big("month_spent_picousd"),
    _big("calls"),
    # A token bucket for calls, in thousandths of a call; a wallet that was never called is as full as can be.
    Column("rate_left_milli", BigInteger, nullable=False, server_default="0"),
    Column("rate_us", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("balance_picousd >= 0", name="balance"),
    CheckConstraint("held_picousd >= 0 AND held_picousd <= balance_picousd", name="held"),
)

transfers = Table(
    "transfers",
    metadata,
    _id(),
    _text("agent_id", null=True),
    _text("inference_id", null=True),
    _text("debit_account"),
    _text("credit_account"),
    _big("amount_picousd"),
    _text("kind"),
    _text("memo", null=True),
    _big("balance_after_picousd", null=True),
    _big("created_us"),
    CheckConstraint("amount_picousd >= 0", name="amount"),
    CheckConstraint("debit_account <> credit_account", name="accounts"),
    Index(None, "agent_id", "id"),
    Index(
        "uq_transfers_agent_debit",
        "inference_id",
        unique=True,
        sqlite_where=text("kind = 'debit'"),
        postgresql_where=text("kind = 'debit'"),
    ),
)

holds = Table(
    "holds",
    metadata,
    _id("inference_id"),
    _text("agent_id"),
    _text("tenant_id"),
    _big("amount_picousd"),
    _text("attempt_id"),
    Column("ordinal", Integer, nullable=False),
    _text("provider"),
    _text("model"),
    _text("owner"),
    _text("idempotency_hash", null=True),
    _big("created_us"),
    CheckConstraint("amount_picousd >= 0", name="amount"),
)

inferences = Table(
    "inferences",
    metadata,
    _id(),
    _text("receipt_id"),
    _text("tenant_id"),
    _text("agent_id"),
    _text("trace_id"),
    _text("span_id"),
    _text("dialect"),
    Column("streamed", Integer, nullable=False),
    _text("requested_model"),
    _text("decision"),
    _text("decision_hash"),
    _text("request_hash"),
    _text("hash_salt"),
    _big("projected_picousd"),
    _big("created_us"),
    UniqueConstraint("receipt_id"),
    Index(None, "agent_id", "id"),
)

attempts = Table(
    "attempts",
    metadata,
    _id(),
    _text("inference_id"),
    Column("ordinal", Integer, nullable=False),
    _text("provider"),
    _text("model"),
    _text("outcome"),
    Column("upstream_status", Integer),
    _text("reason", null=True),
    _big("ttft_us", null=True),
    _big("latency_us"),
    _big("input_tokens"),
    _big("output_tokens"),
    _big("cost_picousd"),
    _text("usage_source"),
    _big("created_us"),
    UniqueConstraint("inference_id", "ordinal"),
)

routing_outcomes = Table(
    "routing_outcomes",
    metadata,
    _id("inference_id"),
    _text("agent_id"),
    _text("tenant_id"),
    _text("trace_id"),
    _text("dialect"),
    _text("task_type", null=True),
    _text("task_type_source", null=True),
    _text("policy_name"),
    _text("policy_semver"),
    _text("ruleset_hash"),
    _text("decision_rule"),
    _text("decision_type"),
    _text("decision"),
    _text("verdict_versions"),
    _text("model", null=True),
    _text("provider", null=True),
    _text("propensity"),
    _big("projected_picousd"),
    _big("cost_picousd"),
    _big("baseline_picousd", null=True),
    _big("ttft_us", null=True),
    _big("latency_us"),
    _big("input_tokens"),
    _big("output_tokens"),
    _big("cached_input_tokens"),
    _big("cache_write_tokens"),
    _big("reasoning_tokens"),
    Column("cache_write_1h_tokens", BigInteger, nullable=False, server_default="0"),
    Column("audio_input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("audio_output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("web_searches", BigInteger, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False),
    _text("outcome_status"),
    _text("refusal_code", null=True),
    _text("usage_source"),
    _text("tags", null=True),
    _big("created_us"),
    # Pages and sums of a tenant or of one agent, by when calls ended.
    Index(None, "tenant_id", "created_us", "inference_id"),
    Index(None, "agent_id", "created_us", "inference_id"),
)

settlement_corrections = Table(
    "settlement_corrections",
    metadata,
    _id(),
    _text("inference_id"),
    _text("kind"),
    _big("amount_picousd"),
    _text("reason"),
    _big("created_us"),
    Index(None, "inference_id"),
)

audit_events = Table(
    "audit_events",
    metadata,
    _id(),
    _text("agent_id"),
    _big("seq"),
    _text("event_type"),
    _text("payload"),
    _text("previous_hash", null=True),
    _text("event_hash"),
    _text("verifier_hash"),
    _big("created_us"),
    UniqueConstraint("agent_id", "seq"),
)

chain_heads = Table(
    "chain_heads",
    metadata,
    _id("agent_id"),
    _big("seq"),
    _text("event_hash"),
    _text("verifier_hash"),
    _big("positioned_seq"),
    Index(
        "ix_chain_heads_unpositioned",
        "agent_id",
        sqlite_where=text("positioned_seq < seq"),
        postgresql_where=text("positioned_seq < seq"),
    ),
)

log_positions = Table(
    "log_positions",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    _text("agent_id"),
    _big("seq"),
    _text("event_type"),
    _text("event_hash"),
    _big("created_us"),
    UniqueConstraint("agent_id", "seq"),
)

brand_verdicts = Table(
    "brand_verdicts",
    metadata,
    _id(),
    _text("brand"),
    _text("verdict"),
    _text("condition", null=True),
    _text("decided_by"),
    _big("decided_at_us"),
    _text("evidence_url", null=True),
    _big("version"),
    UniqueConstraint("brand", "version"),
    CheckConstraint("verdict IN ('PASS', 'CONDITIONAL', 'FAIL')", name="verdict"),
)

providers = Table(
    "providers",
    metadata,
    _id("slug"),
    _text("display_name"),
    _text("base_url"),
    Column("enabled", Integer, nullable=False),
)

models = Table(
    "models",
    metadata,
    _id("slug"),
    _text("display_name"),
    _text("brand"),
    Column("provider", Text, ForeignKey("providers.slug"), nullable=False),
    _text("upstream_model"),
    _big("context_window"),
    _big("max_output_tokens"),
    _text("capabilities"),
    _text("prior", null=True),
    _text("prior_source", null=True),
    _text("aa_index_source", null=True),
    _big("latency_ms", null=True),
    _text("agentic_index", null=True),
    _text("wire", null=True),
    Column("enabled", Integer, nullable=False),
)

model_prices = Table(
    "model_prices",
    metadata,
    _id(),
    _text("model_slug"),
    _text("price_class"),
    _big("picousd_per_token"),
    _text("source"),
    _big("valid_from_us"),
    UniqueConstraint("model_slug", "price_class", "valid_from_us"),
    CheckConstraint("picousd_per_token >= 0", name="price"),
)

routing_policies = Table(
    "routing_policies",
    metadata,
    _id(),
    _text("tenant_id"),
    _big("version"),
    _text("document"),
    _big("created_us"),
    _text("created_by"),
    UniqueConstraint("tenant_id", "version"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("key_hash", Text, primary_key=True),
    _text("fingerprint"),
    _text("inference_id"),
    _text("state"),
    _text("answer_sealed", null=True),
    _big("created_us"),
    CheckConstraint("state IN ('in_flight', 'stored', 'too_large')", name="state"),
    Index(None, "created_us"),
)

settings_changes = Table(
    "settings_changes",
    metadata,
    _id(),
    _text("name"),
    _text("value"),
    _text("changed_by"),
    _big("created_us"),
    Index(None, "name", "id"),
)

house_state = Table(
    "house_state",
    metadata,
    _id("name"),
    _text("value"),
    _big("changed_us"),
)
"""What holds now for all processes of one database; ``settings_changes`` is its record."""

day_spend = Table(
    "day_spend",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    _big("spent_picousd"),
    Index(None, "day"),
)
"""What agents paid on a UTC day, a row for each process that settled: nobody waits for another's row."""

worker_leases = Table(
    "worker_leases",
    metadata,
    _id("owner"),
    _big("seen_us"),
)
"""Processes that serve, and when the database last heard of each, by the database's own clock."""

APPEND_ONLY = (
    "transfers",
    "inferences",
    "attempts",
    "routing_outcomes",
    "settlement_corrections",
    "audit_events",
    "log_positions",
    "brand_verdicts",
    "model_prices",
    "routing_policies",
    "settings_changes",
)
"""Tables whose rows are never changed or removed; a trigger refuses it on both engines."""
