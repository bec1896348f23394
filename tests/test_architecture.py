"""Imports point down only, siblings never import each other, and the rule files stay pure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "ainfera_gateway"
TOOLS = ROOT / "tools"

# The floors of the house, top to bottom. Rooms of one floor are siblings.
FLOORS: list[set[str]] = [
    {"cli"},
    {"app"},
    {"api", "console"},
    {"inference", "control"},
    {"agents", "policy", "routing", "ledger", "audit", "tracing", "providers"},
    {"catalog"},
    {"wire"},
    {"canonical"},
    {"storage"},
    {"metrics", "logs"},
    {"settings"},
    {"config_tables"},
    {"errors", "money", "ids", "clock", "limits", "version"},
]
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
GROUND = {"errors", "money", "ids", "clock", "limits", "version"}

PURE = [
    "catalog/price.py",
    "catalog/schedule.py",
    "catalog/names.py",
    "routing/decide.py",
    "routing/rank.py",
    "routing/aliases.py",
    "routing/explain.py",
    "routing/refuse.py",
    "policy/conditions.py",
    "policy/caps.py",
    "policy/verdicts.py",
    "audit/chain.py",
    "audit/canonical_json.py",
    "audit/event_types.py",
    "ledger/hold.py",
    "ledger/estimate.py",
    "ledger/media.py",
    "inference/lifecycle.py",
    "inference/judge.py",
    "inference/answer.py",
    "inference/carried.py",
    "inference/weigh.py",
    "storage/page.py",
    "storage/plan.py",
    "wire",
    "canonical",
]
IMPURE_MODULES = {
    "asyncio",
    "socket",
    "sqlite3",
    "asyncpg",
    "requests",
    "httpx",
    "subprocess",
    "threading",
    "time",
    "random",
}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "migrations" not in path.parts)


def imported(path: Path) -> set[str]:
    """Dotted names this module imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}: relative import")
    return names


def room(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "ainfera_gateway" and len(parts) > 1 else None


def violations(path: Path, own: str) -> list[str]:
    found = []
    for name in imported(path):
        other = room(name)
        if other is None or other in {own, "__version__"}:
            continue
        if own in GROUND and other in GROUND:
            continue
        if FLOOR_OF[other] <= FLOOR_OF[own]:
            found.append(f"{path.relative_to(SOURCE)} imports {name}")
    return found


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()} - {"__init__"}
    assert rooms - set(FLOOR_OF) == set()


def test_imports_point_down_only() -> None:
    found = []
    for path in modules():
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if own != "__init__":
            found += violations(path, own)
    assert found == []


def test_the_rule_sees_a_seeded_violation(tmp_path: Path) -> None:
    seeded = SOURCE / "money.py"
    text = "from ainfera_gateway.storage.page import Page\n"
    copy = tmp_path / "money.py"
    copy.write_text(text)
    names = imported(copy)
    assert any(FLOOR_OF[room(name) or "cli"] <= FLOOR_OF["money"] for name in names)
    assert violations(seeded, "money") == []


@pytest.mark.parametrize("place", PURE)
def test_rule_files_have_no_io_and_no_async(place: str) -> None:
    path = SOURCE / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert files
    for file in files:
        tree = ast.parse(file.read_text())
        loose = [
            n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
        ]
        assert not loose, file
        assert {name.split(".")[0] for name in imported(file)} & IMPURE_MODULES == set(), file
        calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        assert "open" not in calls and "print" not in calls, file


def test_the_environment_is_read_in_few_places() -> None:
    allowed = {"settings.py", "cli", "providers/local"}
    readers = [
        str(path.relative_to(SOURCE))
        for path in modules()
        if "os.environ" in path.read_text() or "os.getenv" in path.read_text()
    ]
    assert [name for name in readers if not any(name.startswith(place) for place in allowed)] == []


def test_the_package_init_stays_empty() -> None:
    assert (SOURCE / "__init__.py").read_text() == ""


def test_no_float_in_money_rooms() -> None:
    in_source = ("ledger", "money.py", "catalog/price.py", "catalog/schedule.py")
    for path in (*(SOURCE / place for place in in_source), TOOLS / "catalog_prices.py"):
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            for node in ast.walk(ast.parse(file.read_text())):
                is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
                assert not is_float, f"{file}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.BinOp):
                    assert not isinstance(node.op, ast.Div), f"{file}:{node.lineno}: true division of money"
