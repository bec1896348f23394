"""One simulator and one gateway for a module; agents are made per test, so tests do not see each other's money."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess, provider_environment
from tests.simulator.process import Simulator

_numbers = itertools.count()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator"), log_bodies=True) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    simulator: Simulator, tmp_path_factory: pytest.TempPathFactory, engine_environment: dict[str, str]
) -> Iterator[GatewayProcess]:
    data_dir: Path = tmp_path_factory.mktemp("gateway")
    simulator.clear_script()  # another engine may have counted there already
    environment = engine_environment | provider_environment(simulator.base_url) | {"LOCAL_BASE_URL": simulator.base_url}
    with GatewayProcess(data_dir, environment) as running:
        yield running


@pytest.fixture
def agent(gateway: GatewayProcess) -> dict[str, Any]:
    return gateway.signup(f"agent-{next(_numbers)}")


@pytest.fixture
def new_agent(gateway: GatewayProcess) -> Callable[..., dict[str, Any]]:
    def make(**more: Any) -> dict[str, Any]:
        return gateway.signup(f"agent-{next(_numbers)}", **more)

    return make
