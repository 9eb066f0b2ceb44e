"""The house's own rules: imports point one way, and nothing heavy is imported before it is used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import book_search

PACKAGE = Path(book_search.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Who may import whom, by the first folder or module below book_search; `cli` and `web` are edges and may use all
# but each other. The sample stands for the world outside: only edges (and itself) know it.
LAYERS = {
    "openlibrary": {"openlibrary"},
    "clip": {"clip"},
    "index": {"index"},
    "search": {"search", "index", "clip"},
    "evaluation": {"evaluation", "search", "index", "clip"},
    "sample": {"sample", "clip"},
    "defs": {"defs", "openlibrary", "clip", "index", "search", "evaluation"},
    "definitions": {"defs"},
    "web": {"web", "search", "index", "clip"},
}
FOUNDATION = {"alone", "lake", "s3", "settings", "schemas", "cover_ranges", "progress", "instance", "__init__"}
ALONE = {
    "settings": {"settings"},
    "alone": {"alone", "lake"},
    "lake": {"lake", "s3"},
    "s3": {"s3"},
    "schemas": {"schemas"},
    "cover_ranges": {"cover_ranges"},
}


def _imports(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "book_search"}
    return found


def _room(module: Path) -> str:
    relative = module.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    room = _room(module)
    if room == "cli":
        return
    allowed = ALONE.get(room, FOUNDATION | LAYERS.get(room, set()))
    used = {name.split(".")[1] for name in _imports(module) if name.startswith("book_search.")}
    assert used <= allowed | {"__version__"}, f"{room} may not import {sorted(used - allowed)}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_defs_and_the_front_door_know_dagster(module: Path) -> None:
    knows = any(name.split(".")[0] == "dagster" for name in _imports(module))
    assert not knows or _room(module) in {"defs", "definitions", "cli"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_our_variables_are_read_in_one_place(module: Path) -> None:
    reads = re.search(r"""(environ\.get|getenv)\(\s*["']BOOK_SEARCH_""", module.read_text())
    assert not reads or module.name == "settings.py"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_are_small(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 320, "two rooms in one: split it"


@pytest.mark.parametrize("module", ["book_search.definitions", "book_search.cli"])
def test_loading_the_definitions_pulls_in_no_heavy_library(module: str) -> None:
    heavy = {"torch", "transformers", "boto3", "scipy", "pandas"}
    program = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
