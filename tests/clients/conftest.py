"""One simulator and one gateway for a module; each provider is at its own family's path, with that family's strictness."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.both import End, Watch, two_ends
from tests.gateway_process import GatewayProcess, family_environment
from tests.integration.conftest import agent, new_agent, simulator
from tests.simulator.process import Simulator

__all__ = ["agent", "ends", "gateway", "new_agent", "simulator", "watch"]


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    environment = family_environment(simulator.root_url) | {"LOCAL_BASE_URL": simulator.base_url}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), environment) as running:
        yield running


@pytest.fixture(scope="module")
def ends(gateway: GatewayProcess, simulator: Simulator) -> tuple[End, End]:
    """The simulator itself, and the gateway before it."""
    return two_ends(gateway, simulator, "both-ends")


@pytest.fixture
def watch(simulator: Simulator) -> Watch:
    return Watch(simulator)
