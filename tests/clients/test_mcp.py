"""A real MCP client over stdio drives an agent's life through tools that know only the gateway's public routes."""

from __future__ import annotations

import asyncio
import sys
import uuid
from decimal import Decimal
from typing import Any

from mcp import ClientSession, StdioServerParameters, stdio_client

from tests.docs_generate import ROOT
from tests.gateway_process import GatewayProcess

TOOLS = {
    "discover", "sign_up", "register_agent", "infer", "top_up", "wallet", "receipt", "read_chain", "verify_chain",
}  # fmt: skip


class Agent:
    """Calls of tools, as a model makes them."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def use(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self._session.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return dict(result.structured_content)

    async def refused(self, tool: str, **arguments: Any) -> str:
        result: Any = await self._session.call_tool(tool, arguments)
        assert result.is_error
        return str(result.content[0].text)


def live(gateway: GatewayProcess, life: Any) -> None:
    """Run ``life(agent)`` against a server of its own in a process of its own."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "tests.clients.mcp_server", gateway.url], cwd=str(ROOT)
    )

    async def session() -> None:
        async with stdio_client(server) as (read, write), ClientSession(read, write) as opened:
            await opened.initialize()
            listed = await opened.list_tools()
            assert {tool.name for tool in listed.tools} == TOOLS
            await life(Agent(opened))

    async def bounded() -> None:
        async with asyncio.timeout(90):
            await session()

    asyncio.run(bounded())


def test_an_agents_whole_life(gateway: GatewayProcess) -> None:
    handle = f"mcp-{uuid.uuid4().hex[:12]}"

    async def life(agent: Agent) -> None:
        card = await agent.use("discover")
        assert card["default_model"] == "ainfera-inference"
        bundle = await agent.use("sign_up", agent_handle=handle)
        assert bundle["canonical_uri"] == f"ainfera.ai/agents/{handle}"
        assert "api_key" not in bundle
        assert (await agent.use("wallet", agent=handle))["balance_usd"] == "5.000000"

        answer = await agent.use("infer", agent=handle, prompt="name the colours")
        assert (answer["model_used"], answer["provider"]) == ("mistral-large-3", "mistral")
        assert "name the colours" in answer["content"]
        pinned = await agent.use("infer", agent=handle, prompt="once more", model="gpt-5-5")
        assert pinned["model_used"] == "gpt-5-5"
        topped = await agent.use("top_up", agent=handle, amount_usd="1.25")
        spent = Decimal(answer["cost_usd"]) + Decimal(pinned["cost_usd"])
        balance = Decimal((await agent.use("wallet", agent=handle))["balance_usd"])
        assert balance == Decimal(topped["new_balance_usd"]) == Decimal("6.25") - spent
        receipt = await agent.use("receipt", agent=handle, receipt_id=answer["receipt_id"])
        assert (receipt["inference_id"], receipt["cost_usd"]) == (answer["inference_id"], answer["cost_usd"])

        events = (await agent.use("read_chain", agent=handle))["events"]
        assert [event["seq"] for event in events] == list(range(len(events)))
        kinds = [event["event_type"] for event in events]
        assert kinds.count("inference.routed") == kinds.count("receipt.created") == 2
        assert kinds[-1] == "wallet.topped_up"
        verdict = await agent.use("verify_chain", agent=handle)
        assert verdict["rehashed"] is True
        assert verdict["gateway"]["valid"] is True
        assert verdict["event_count"] == verdict["gateway"]["event_count"] == len(events)

    live(gateway, life)


def test_refusals_reach_the_model_with_their_code(gateway: GatewayProcess) -> None:
    handle = f"mcp-{uuid.uuid4().hex[:12]}"

    async def life(agent: Agent) -> None:
        await agent.use("sign_up", agent_handle=handle)
        assert "409 handle_taken" in await agent.refused("sign_up", agent_handle=handle)
        assert "422 model_unavailable" in await agent.refused("infer", agent=handle, prompt="hi", model="no-such")
        poor = await agent.use("register_agent", agent=handle, name="without money")
        assert "402 wallet_insufficient" in await agent.refused("infer", agent=poor["id"], prompt="hi")
        assert "401 missing_api_key" in await agent.refused("wallet", agent="somebody-else")
        assert (await agent.use("verify_chain", agent=poor["id"]))["rehashed"] is True

    live(gateway, life)
