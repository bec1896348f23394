"""Who calls: tenants, their agents, keys and cards."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint

from ainfera_gateway.storage.tables.columns import big_column, id_column, metadata, text_column

tenants = Table(
    "tenants",
    metadata,
    id_column(),
    text_column("owner_handle"),
    text_column("owner_source"),
    text_column("owner_contact", null=True),
    text_column("audit_visibility"),
    big_column("created_us"),
    CheckConstraint("audit_visibility IN ('public', 'private')", name="visibility"),
)

agents = Table(
    "agents",
    metadata,
    id_column(),
    Column("tenant_id", Text, ForeignKey("tenants.id"), nullable=False),
    text_column("owner_handle"),
    text_column("handle"),
    text_column("name"),
    text_column("status"),
    text_column("public_key_pem"),
    text_column("private_key_sealed"),
    text_column("kid"),
    text_column("wallet_address", null=True),
    text_column("metadata", null=True),
    big_column("per_call_cap_picousd", null=True),
    big_column("daily_cap_picousd", null=True),
    big_column("monthly_cap_picousd", null=True),
    text_column("allowed_brands", null=True),
    text_column("preset", null=True),
    big_column("created_us"),
    UniqueConstraint("owner_handle", "handle"),
    Index(None, "tenant_id", "id"),
    Index(None, "handle"),
    CheckConstraint("status IN ('active', 'suspended')", name="status"),
)

api_keys = Table(
    "api_keys",
    metadata,
    id_column(),
    Column("tenant_id", Text, ForeignKey("tenants.id"), nullable=False),
    text_column("agent_id", null=True),
    text_column("scope"),
    text_column("key_hash"),
    text_column("prefix"),
    text_column("name", null=True),
    big_column("created_us"),
    big_column("revoked_us", null=True),
    UniqueConstraint("key_hash"),
    Index(None, "tenant_id"),
    CheckConstraint("scope IN ('owner', 'inference')", name="scope"),
)

agent_cards = Table(
    "agent_cards",
    metadata,
    id_column(),
    text_column("agent_id"),
    text_column("kid"),
    text_column("jws"),
    text_column("payload"),
    big_column("issued_us"),
    Index(None, "agent_id", "id"),
)
