"""`make demo`'s own command, as a newcomer runs it: in an empty folder, twice, and then a question."""

import json
import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from book_search.sample.library import plan_library

COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"


def _run(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BOOK_SEARCH", "DAGSTER"))}
    ran = subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "leaked" not in ran.stderr  # which DuckDB tells of as Python ends
    return ran.stdout


@pytest.fixture(scope="module")
def folder(open_folder: Path) -> Path:
    folder = open_folder / "demo"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def said(folder: Path) -> str:
    """What the first `book-search demo` in the folder printed."""
    return _run(folder, "demo")


def test_the_demo_runs_the_road_and_answers_three_questions(said: str) -> None:
    assert set(re.findall(r"^  done (\w+)", said, re.MULTILINE)) == {
        "edition_dump", "work_dump", "author_dump", "redirect_dump", "books", "covers", "cover_embeddings",
        "cover_tags", "book_rows", "cover_vectors", "search_index", "relevance_report",
    }  # fmt: skip
    assert "From the dump to the books" in said
    assert "The ledger of covers" in said
    assert said.count("cover shows") == 3
    assert "book-search --demo psql" in said


def test_a_second_demo_writes_no_file_of_the_lake_anew(folder: Path, said: str) -> None:
    lake = folder / ".book_search" / "demo"

    def files() -> dict[str, int]:
        kept = ("dumps", "catalogue", "covers", "embeddings", "tags")
        return {str(path): path.stat().st_mtime_ns for part in kept for path in (lake / part).rglob("*.*")}

    before = files()
    assert len(before) > 10

    _run(folder, "demo")

    assert files() == before


def test_the_demos_library_answers_as_the_readme_says(folder: Path, said: str) -> None:
    answer = json.loads(_run(folder, "--demo", "search", "a white ship under a moon", "--json"))
    drawn = plan_library().specs
    shown = [drawn[hit["cover_id"]] for hit in answer["hits"][:2]]
    assert answer["verdict"] == "good match"
    assert {(spec.object_colour, spec.object, spec.companion) for spec in shown} == {("white", "ship", "moon")}

    assert json.loads(_run(folder, "--demo", "search", "a bicycle", "--json"))["verdict"] == "no good match"


def test_every_command_of_the_readmes_tour_does_what_it_says(folder: Path, said: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    tour = re.findall(r"^\$ \.venv/bin/book-search (--demo .*)$", readme, re.MULTILINE)
    assert len(tour) >= 7

    answers = {command: _run(folder, *shlex.split(command)) for command in tour}

    assert all(answers.values())
    (why,) = (answer for command, answer in answers.items() if " why " in command)
    assert "is on the road to its end" in why


@pytest.mark.parametrize("command", [["search", "a ship"], ["run"]])
def test_without_a_demo_the_demos_library_is_not_asked_but_made_first(open_folder: Path, command: list[str]) -> None:
    empty = open_folder / f"empty-{command[0]}"
    empty.mkdir()
    asked = subprocess.run([COMMAND, "--demo", *command], cwd=empty, capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert "book-search demo" in asked.stderr
    assert not list(empty.iterdir())
