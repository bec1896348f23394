"""An agent's spend policy: caps, brands, preset. A change binds the next call, in this process at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ainfera_gateway.control.birth import Policy
from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import AgentRow, own_agent
from ainfera_gateway.errors import not_found
from ainfera_gateway.money import format_usd
from ainfera_gateway.storage.page import Keys, Page, Refused

CAPS = ("per_call_cap_picousd", "daily_cap_picousd", "monthly_cap_picousd")


@dataclass(frozen=True, slots=True)
class ChangePolicy:
    """The unit that sets ``changes`` (columns of ``agents``; lists as tuples) and leaves the rest as it is."""

    agent_id: str
    changes: Mapping[str, Any]
    trace_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> None:
        wallet = page.wallets.get(self.agent_id)
        if wallet is None:
            raise Refused(not_found())
        stored = dict(self.changes)
        for name in CAPS:
            if name in stored:
                # Calls of the same group are held against the new cap already.
                setattr(wallet, name, stored[name])
        if stored.get("allowed_brands") is not None:
            stored["allowed_brands"] = json.dumps(stored["allowed_brands"])
        if stored:
            # The names are the fields of Policy, never a caller's.
            sets = ", ".join(f"{name} = :{name}" for name in sorted(stored))
            page.execute(f"UPDATE agents SET {sets} WHERE id = :id", {**stored, "id": self.agent_id})  # noqa: S608
        page.append(self.agent_id, "spend_policy.updated", changes_event(self.changes, self.trace_id))


def change_policy(
    control: Control, *, agent: str, tenant_id: str, changes: Mapping[str, Any], trace_id: str
) -> dict[str, Any]:
    """Apply ``changes`` (names of ``Policy``) and answer with the policy in force. Raises 404."""
    row = own_agent(control, agent, tenant_id)
    commit(control, ChangePolicy(row.id, changes, trace_id))
    control.changed(row.id)
    return shown_policy(own_agent(control, row.id, tenant_id))


def shown_policy(agent: AgentRow) -> dict[str, Any]:
    """``{agent_id, spend_policy, drain_proof_status}``: protected only by a cap on each call and one on the day."""
    protected = agent.per_call_cap_picousd is not None and agent.daily_cap_picousd is not None
    return {
        "agent_id": agent.id,
        "spend_policy": {
            "per_call_cap_usd": _usd(agent.per_call_cap_picousd),
            "daily_cap_usd": _usd(agent.daily_cap_picousd),
            "monthly_cap_usd": _usd(agent.monthly_cap_picousd),
            "allowed_brands": None if agent.allowed_brands is None else json.loads(agent.allowed_brands),
            "preset": agent.preset,
        },
        "drain_proof_status": "protected" if protected else "unprotected",
    }


def policy_event(policy: Policy, trace_id: str) -> dict[str, Any]:
    """The event of a policy given at signup."""
    given = {name: getattr(policy, name) for name in Policy.__dataclass_fields__}
    return changes_event({name: value for name, value in given.items() if value is not None}, trace_id)


def changes_event(changes: Mapping[str, Any], trace_id: str) -> dict[str, Any]:
    """The event's fields: what was set, caps as decimal text, ``None`` for a cap that was cleared."""
    fields: dict[str, Any] = {"trace_id": trace_id}
    for name, value in changes.items():
        if name in CAPS:
            fields[name.removesuffix("_picousd") + "_usd"] = _usd(value)
        else:
            fields[name] = list(value) if isinstance(value, tuple) else value
    return fields


def _usd(picousd: int | None) -> str | None:
    return None if picousd is None else format_usd(picousd)
