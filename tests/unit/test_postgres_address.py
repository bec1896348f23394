"""The one member of a PostgreSQL address that is ours alone."""

from __future__ import annotations

from ainfera_gateway.storage.postgres_session import is_pooled, without_pooled


def test_an_address_says_that_it_leads_to_a_pooler() -> None:
    assert is_pooled("postgresql://u@h:6432/db?pgbouncer=true")
    assert not is_pooled("postgresql://u@h:5432/db?sslmode=require")
    url = "postgresql://u:p%40@h:6432/db?sslmode=require&pgbouncer=true&host=/run/pg"
    assert without_pooled(url) == "postgresql://u:p%40@h:6432/db?sslmode=require&host=/run/pg"
