"""Cards: the newest one, a freshly signed one, and the verdict about any."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ainfera_gateway.agents.cards import Card, card_payload, mint_card, verify_card
from ainfera_gateway.clock import iso
from ainfera_gateway.control.birth import card_row, open_private_key
from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import AgentRow
from ainfera_gateway.ids import is_id
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tables import agent_cards, agents


@dataclass(frozen=True, slots=True)
class RecordCard:
    """The unit that keeps a new card."""

    agent_id: str
    card: Card
    trace_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> None:
        page.insert("agent_cards", card_row(self.agent_id, self.card, page.now_us))
        page.append(self.agent_id, "agent_card.minted", {"trace_id": self.trace_id, "kid": self.card.kid})


def newest_card(control: Control, agent: AgentRow) -> dict[str, Any]:
    """``{jws, payload, kid}``; the payload is exactly what the JWS decodes to."""
    statement = (
        select(agent_cards.c.jws, agent_cards.c.payload, agent_cards.c.kid)
        .where(agent_cards.c.agent_id == agent.id)
        .order_by(agent_cards.c.id.desc())
        .limit(1)
    )
    with control.reader.connect() as connection:
        row = connection.execute(statement).one()
    return {"jws": row.jws, "payload": json.loads(row.payload), "kid": row.kid}


def new_card(control: Control, agent: AgentRow, *, issuer: str, trace_id: str) -> dict[str, Any]:
    """Sign and keep a card with the time of now. Raises ``SealError`` under another data key."""
    with control.reader.connect() as connection:
        sealed = connection.execute(select(agents.c.private_key_sealed).where(agents.c.id == agent.id)).scalar_one()
    private_key = open_private_key(control.data_key, agent.id, sealed)
    payload = card_payload(
        agent_id=agent.id,
        tenant_id=agent.tenant_id,
        handle=agent.handle,
        owner_handle=agent.owner_handle,
        issued_at=iso(control.clock.now_us()),
        iss=issuer,
        host=control.settings.did_host,
    )
    card = mint_card(private_key, agent.kid, payload)
    commit(control, RecordCard(agent.id, card, trace_id))
    return {"jws": card.jws, "payload": card.payload, "kid": card.kid}


def verdict(control: Control, token: str) -> dict[str, Any]:
    """``{valid, payload, kid, alg, agent_id, reason}`` of any card; never raises for what is in it."""

    def public_pem_of(agent_id: str, kid: str) -> str | None:
        if not is_id(agent_id):
            return None
        statement = select(agents.c.public_key_pem).where(agents.c.id == agent_id, agents.c.kid == kid)
        with control.reader.connect() as connection:
            return connection.execute(statement).scalar_one_or_none()

    return verify_card(token, public_pem_of).as_dict()
