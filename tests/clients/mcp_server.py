"""An MCP server whose tools are the gateway's public routes: ``python -m tests.clients.mcp_server <gateway url>``.

It knows nothing of the gateway but its HTTP routes. Keys stay in here: the model behind an MCP client sees handles,
ids, amounts and verdicts, never a key.
"""

from __future__ import annotations

import sys
from typing import Any

import httpx
from ainfera.audit import AuditEvent
from ainfera.verify import verify_chain as rehash
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

PAGE = 5


class Gateway:
    """The routes, and the key of each agent that was signed up through this server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=60)
        self._keys: dict[str, str] = {}

    async def ask(self, method: str, path: str, agent: str = "", **more: Any) -> Any:
        """The answer's JSON; a refusal becomes the tool's error, with the gateway's code and message."""
        headers = {"authorization": f"Bearer {self._keys[agent]}"} if agent in self._keys else {}
        answer = await self._http.request(method, path, headers=headers, **more)
        body = answer.json()
        if answer.is_error:
            raise ToolError(f"{answer.status_code} {body['code']}: {body['message']}")
        return body

    def remember(self, bundle: dict[str, Any]) -> dict[str, Any]:
        key = bundle.pop("api_key")
        for name in ("agent_id", "agent_handle"):
            self._keys[bundle[name]] = key
        return bundle

    def lend(self, agent: str, sister: str) -> None:
        """A sister of the same tenant acts under the same owner's key."""
        self._keys[sister] = self._keys[agent]


def tools(gateway: Gateway) -> MCPServer:
    """The server with its tools."""
    server = MCPServer("ainfera", instructions="Sign an agent up, let it call models, and check what it spent.")

    @server.tool()
    async def discover() -> dict[str, Any]:
        """What this gateway is and offers."""
        card: dict[str, Any] = await gateway.ask("GET", "/.well-known/agent-card.json")
        return card

    @server.tool()
    async def sign_up(agent_handle: str) -> dict[str, Any]:
        """A new tenant with one agent and its wallet."""
        return gateway.remember(await gateway.ask("POST", "/v1/agents/signup", json={"agent_handle": agent_handle}))

    @server.tool()
    async def register_agent(agent: str, name: str) -> dict[str, Any]:
        """One more agent in the tenant of `agent`."""
        own = await gateway.ask("GET", f"/v1/agents/{agent}", agent)
        body = {"tenant_id": own["tenant_id"], "name": name}
        made: dict[str, Any] = await gateway.ask("POST", "/v1/agents/register", agent, json=body)
        gateway.lend(agent, made["id"])
        return made

    @server.tool()
    async def infer(agent: str, prompt: str, model: str = "ainfera-inference", max_tokens: int = 200) -> dict[str, Any]:
        """Ask a model; paid by the agent's wallet."""
        messages = [{"role": "user", "content": prompt}]
        body = {"agent_id": agent, "model": model, "messages": messages, "max_tokens": max_tokens}
        answer: dict[str, Any] = await gateway.ask("POST", "/v1/inference", agent, json=body)
        return answer

    @server.tool()
    async def top_up(agent: str, amount_usd: str) -> dict[str, Any]:
        """Add money to the agent's wallet."""
        body = {"agent_id": agent, "amount_usd": amount_usd}
        done: dict[str, Any] = await gateway.ask("POST", "/v1/wallets/topup", agent, json=body)
        return done

    @server.tool()
    async def wallet(agent: str) -> dict[str, Any]:
        """The agent's balance."""
        balance: dict[str, Any] = await gateway.ask("GET", f"/v1/wallets/{agent}", agent)
        return balance

    @server.tool()
    async def receipt(agent: str, receipt_id: str) -> dict[str, Any]:
        """What one call cost and where its proof is."""
        found: dict[str, Any] = await gateway.ask("GET", f"/v1/receipts/{receipt_id}", agent)
        return found

    @server.tool()
    async def read_chain(agent: str) -> dict[str, Any]:
        """Every event of the agent's chain, oldest first."""
        return {"events": await _events(gateway, agent)}

    @server.tool()
    async def verify_chain(agent: str) -> dict[str, Any]:
        """The gateway's own verdict, and the verdict of a re-hash in here, which does not trust the gateway."""
        events = [AuditEvent.model_validate(event) for event in await _events(gateway, agent)]
        theirs = await gateway.ask("GET", f"/v1/audit/{agent}/verify")
        return {"gateway": theirs, "rehashed": rehash(events), "event_count": len(events)}

    return server


async def _events(gateway: Gateway, agent: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        params = {"limit": PAGE} | ({"since_seq": events[-1]["seq"]} if events else {})
        page = (await gateway.ask("GET", f"/v1/audit/{agent}", params=params))["events"]
        if not page:
            return events
        events += page


if __name__ == "__main__":
    tools(Gateway(sys.argv[1])).run("stdio")
