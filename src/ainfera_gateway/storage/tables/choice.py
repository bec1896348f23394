"""What decisions rest on: the catalog with its prices, verdicts, and routing policies."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Table, Text, UniqueConstraint

from ainfera_gateway.storage.tables.columns import big_column, id_column, metadata, text_column

brand_verdicts = Table(
    "brand_verdicts",
    metadata,
    id_column(),
    text_column("brand"),
    text_column("verdict"),
    text_column("condition", null=True),
    text_column("decided_by"),
    big_column("decided_at_us"),
    text_column("evidence_url", null=True),
    big_column("version"),
    UniqueConstraint("brand", "version"),
    CheckConstraint("verdict IN ('PASS', 'CONDITIONAL', 'FAIL')", name="verdict"),
)

providers = Table(
    "providers",
    metadata,
    id_column("slug"),
    text_column("display_name"),
    text_column("base_url"),
    Column("enabled", Integer, nullable=False),
)

models = Table(
    "models",
    metadata,
    id_column("slug"),
    text_column("display_name"),
    text_column("brand"),
    Column("provider", Text, ForeignKey("providers.slug"), nullable=False),
    text_column("upstream_model"),
    big_column("context_window"),
    big_column("max_output_tokens"),
    text_column("capabilities"),
    text_column("prior", null=True),
    text_column("prior_source", null=True),
    text_column("aa_index_source", null=True),
    big_column("latency_ms", null=True),
    text_column("agentic_index", null=True),
    text_column("wire", null=True),
    Column("enabled", Integer, nullable=False),
)

model_prices = Table(
    "model_prices",
    metadata,
    id_column(),
    text_column("model_slug"),
    text_column("price_class"),
    big_column("picousd_per_token"),
    text_column("source"),
    big_column("valid_from_us"),
    UniqueConstraint("model_slug", "price_class", "valid_from_us"),
    CheckConstraint("picousd_per_token >= 0", name="price"),
)

routing_policies = Table(
    "routing_policies",
    metadata,
    id_column(),
    text_column("tenant_id"),
    big_column("version"),
    text_column("document"),
    big_column("created_us"),
    text_column("created_by"),
    UniqueConstraint("tenant_id", "version"),
)
