"""An agent is suspended and activated; T1 sees the change in the same transaction order as everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.control.find import own_agent
from ainfera_gateway.control.register import shown_agent
from ainfera_gateway.errors import not_found
from ainfera_gateway.storage.page import Keys, Page, Refused

Status = Literal["active", "suspended"]
_EVENT: dict[Status, str] = {"active": "agent.activated", "suspended": "agent.suspended"}


@dataclass(frozen=True, slots=True)
class SetStatus:
    """The unit that sets an agent's status; setting it to what it is records nothing."""

    agent_id: str
    status: Status
    trace_id: str

    def keys(self) -> Keys:
        return Keys(agents=(self.agent_id,))

    def apply(self, page: Page) -> bool:
        wallet = page.wallets.get(self.agent_id)
        if wallet is None:
            raise Refused(not_found())
        if wallet.status == self.status:
            return False
        # Calls of the same group see it already.
        wallet.status = self.status
        page.execute("UPDATE agents SET status = :status WHERE id = :id", {"status": self.status, "id": self.agent_id})
        page.append(self.agent_id, _EVENT[self.status], {"trace_id": self.trace_id})
        return True


def set_status(control: Control, *, agent: str, tenant_id: str, status: Status, trace_id: str) -> dict[str, Any]:
    """Suspend or activate the tenant's agent; answers with the Agent. Raises 404."""
    row = own_agent(control, agent, tenant_id)
    if commit(control, SetStatus(row.id, status, trace_id)):
        control.changed(row.id)
    return shown_agent(control, own_agent(control, row.id, tenant_id))
