"""A command that asks imports what it uses, and no more: most of what its user would wait for is imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from book_search_tests.clip.random_clip import save_random_clip
from book_search_tests.search.conftest import BOOKS, DIM, PICTURE

HEAVY = ("torch", "transformers", "huggingface_hub", "pyarrow", "duckdb", "dagster", "PIL", "psycopg", "numpy", "rich")


def imported(*arguments: str, **settings: str) -> tuple[str, set[str]]:
    """What a command prints, and which of the heavy libraries it imported. Runs it in a process of its own."""
    program = (
        "import sys\n"
        f"sys.argv = ['book-search', *{list(arguments)!r}]\n"
        "from book_search.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n"
        f"    print(*({set(HEAVY)!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, set(ran.stderr.splitlines()[-1].split())


@pytest.fixture
def settings(planted_dsn: str, tmp_path: Path) -> dict[str, str]:
    """The library's database, and the model that made its vectors: the folder's name and content are the same."""
    folder = save_random_clip(tmp_path / "random-clip", dim=DIM)
    return {
        "BOOK_SEARCH_DATABASE_URL": planted_dsn,
        "BOOK_SEARCH_MODEL": str(folder),
        "BOOK_SEARCH_HOME": str(tmp_path),
    }


def test_a_search_by_text_imports_neither_torch_nor_transformers(settings: dict[str, str]) -> None:
    printed, used = imported("search", "a ship", "--json", **settings)

    assert json.loads(printed)["hits"][0]["title"] == "The Narrow Sea"
    assert used == {"psycopg", "numpy"}


def test_only_a_table_needs_the_library_that_draws_it(settings: dict[str, str]) -> None:
    printed, used = imported("search", "a ship", **settings)

    assert "The Narrow Sea" in printed
    assert used == {"psycopg", "numpy", "rich"}


def test_a_picture_brings_the_model_that_sees(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(PICTURE)

    printed, used = imported("search", "--image", str(tmp_path / "picture.jpg"), "--json", **settings)

    assert json.loads(printed)["hits"]
    assert used >= {"torch", "transformers", "PIL"}


def test_a_texts_vector_needs_no_database(settings: dict[str, str]) -> None:
    printed, used = imported(
        "embed", "a ship", **settings | {"BOOK_SEARCH_DATABASE_URL": "postgresql://127.0.0.1:9/no"}
    )

    assert len(json.loads(printed)) == DIM
    assert used == {"numpy"}


def test_books_like_a_book_need_no_model(settings: dict[str, str]) -> None:
    printed, used = imported("similar", "OL7M", "--json", **settings | {"BOOK_SEARCH_MODEL": "/nowhere"})

    assert 0 < len(json.loads(printed)["hits"]) < BOOKS
    assert used == {"psycopg", "numpy"}


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    printed, used = imported(*arguments)

    assert "book-search" in printed
    assert not used
