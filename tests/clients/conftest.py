"""The same running gateway and simulator as the integration tests."""

from __future__ import annotations

from tests.integration.conftest import agent, gateway, new_agent, simulator

__all__ = ["agent", "gateway", "new_agent", "simulator"]
