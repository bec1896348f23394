"""The docs say what the code says: generated parts are current, paths exist, tables match, nothing stray is named."""

from __future__ import annotations

import re
import tomllib

import pytest

from ainfera_gateway.inference.lifecycle import TRANSITIONS, Outcome
from ainfera_gateway.ledger import accounts
from ainfera_gateway.settings import READERS
from tests.docs_generate import MEANING, PARTS, ROOT, with_part

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PAGES}
BANNED = ("mithril", "ainfera-auto", "ainfera/auto", "aamc")
CODE_PATH = re.compile(r"`((?:src|tests|docs|bench|requirements)/[\w./*-]+)`")
ANCHOR = re.compile(r"^#+ (.+)$", re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", NAMED)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", without_code(NAMED[page])):
        if target.startswith(("http://", "https://")):
            continue
        path, _, fragment = target.partition("#")
        file = ((ROOT / page).parent / path) if path else ROOT / page
        assert file.exists(), target
        if fragment:
            headings = ANCHOR.findall(file.read_text("utf-8"))
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert fragment in slugs, target


@pytest.mark.parametrize("page", NAMED)
def test_every_path_that_is_named_exists(page: str) -> None:
    for path in CODE_PATH.findall(NAMED[page]):
        assert list(ROOT.glob(path)), path


@pytest.mark.parametrize("page", NAMED)
def test_no_machine_is_named(page: str) -> None:
    found = re.findall(r"(?<![\w.])/(?:work|root|home|tmp|Users)\b\S*", NAMED[page])
    assert found == []


@pytest.mark.parametrize("page", [name for name in NAMED if not name.startswith("docs/adr/")])
def test_old_names_stay_away(page: str) -> None:
    assert [word for word in BANNED if word in NAMED[page].lower()] == []


@pytest.mark.parametrize("part", PARTS)
def test_generated_parts_are_current(part: str) -> None:
    path, make = PARTS[part]
    assert with_part(NAMED[path], part, make()) == NAMED[path], "run `make docs`"


def test_the_settings_page_lists_exactly_the_settings() -> None:
    assert re.findall(r"^\| `(AINFERA_\w+)`", NAMED["docs/settings.md"], re.MULTILINE) == list(READERS)
    assert set(MEANING) == set(READERS)


def test_settings_that_are_named_anywhere_exist() -> None:
    known = set(READERS) | {"AINFERA_CONFIG", "AINFERA_API_KEY"}
    for page, text in NAMED.items():
        if not page.startswith("docs/adr/"):
            assert set(re.findall(r"\bAINFERA_[A-Z_]*[A-Z]", text)) <= known, page


def test_the_diagram_has_exactly_the_legal_transitions() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", NAMED["docs/architecture.md"], re.MULTILINE))
    assert drawn == {(str(state), str(other)) for state, others in TRANSITIONS.items() for other in others}


def test_who_pays_names_every_outcome_and_every_account() -> None:
    page = NAMED["docs/settlement.md"]
    table = set(re.findall(r"`(\w+)`", "\n".join(line for line in page.splitlines() if line.startswith("|"))))
    assert {str(outcome) for outcome in Outcome} <= table
    named = {value for name, value in vars(accounts).items() if name.isupper() and isinstance(value, str)}
    assert named
    assert [account for account in named if f"`{account}`" not in page] == []


def test_the_readme_names_every_verb() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    verbs = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert verbs
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", NAMED["README.md"], re.MULTILINE)) == verbs
    for page, text in NAMED.items():
        assert set(re.findall(r"`make ([a-z-]+)`", text)) <= verbs, page


def test_every_direct_dependency_has_its_reason_and_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["local"]]
    names = {re.split(r"[\[>=<]", requirement)[0] for requirement in asked}
    assert len(names) < 20
    reasons = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", NAMED["docs/dependencies.md"], re.MULTILINE))
    assert set(reasons) == names
    # SQLAlchemy loads psycopg by the name in the URL.
    modules = {name: {"google-re2": "re2", "pyyaml": "yaml"}.get(name, name) for name in names - {"psycopg"}}
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    unused = [
        n for n, module in modules.items() if not re.search(rf"^\s*(?:from|import) {module}\b", code, re.MULTILINE)
    ]
    assert unused == []
    assert "postgresql+psycopg://" in code


def test_the_changelog_names_the_version_in_force() -> None:
    from ainfera_gateway.version import __version__

    assert re.search(rf"^## {re.escape(__version__)}\b", NAMED["CHANGELOG.md"], re.MULTILINE)


def test_pages_keep_to_a_width() -> None:
    wide = [
        f"{page}:{number}"
        for page, text in NAMED.items()
        if not page.startswith("docs/adr/")
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")
    ]
    assert wide == []
