"""docs/sql.md tells the truth: its Python runs as it stands there, and its functions and filters are those of sql/."""

import re
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from book_search.index.connection import Connection
from book_search_tests.index.library import Library

GUIDE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_the_sqlalchemy_example_finds_books(
    library_dsn: str, library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", _for_sqlalchemy(library_dsn))
    ran: dict[str, Any] = {}
    exec(compile(EXAMPLE, "docs/sql.md", "exec"), ran)
    ran["engine"].dispose()

    printed = capsys.readouterr().out.splitlines()
    cosines = [float(line.split()[0]) for line in printed]
    assert len(printed) == 3
    assert cosines == sorted(cosines, reverse=True)
    assert all("The Ship" in line for line in printed)
    assert len(ran["found"]) == 5
    assert [row.score for row in ran["found"]] == sorted((row.score for row in ran["found"]), reverse=True)
    exact = (-library.vectors.astype(float) @ library.vectors[0].astype(float)).argsort()
    assert ran["cover_ids"][0] == exact[0] == 0
    assert len(set(ran["cover_ids"]) & set(exact[:5].tolist())) >= 4


def test_the_reader_may_run_the_example_too(
    library_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", _for_sqlalchemy(library_dsn, user="book_search_reader"))
    ran: dict[str, Any] = {}
    exec(compile(EXAMPLE, "docs/sql.md", "exec"), ran)
    ran["engine"].dispose()

    assert len(capsys.readouterr().out.splitlines()) == 3


def test_every_function_and_filter_of_the_guide_exists(searching: Connection) -> None:
    functions = set(re.findall(r"^\| `(\w+)\(", GUIDE, re.MULTILINE))
    rows = searching.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'book_search'::regnamespace").fetchall()
    fields = searching.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'book_filter'::regclass AND attnum > 0"
    ).fetchall()
    (listed,) = re.findall(r"The filters are (.*?), all of which", GUIDE, re.DOTALL)

    assert functions == {"search_books", "search_covers", "similar_books", "book_covers"}
    assert functions <= {name for (name,) in rows}
    assert set(re.findall(r"`(\w+)`", listed)) == {name for (name,) in fields}


def _for_sqlalchemy(dsn: str, **changed: str) -> str:
    parts = conninfo_to_dict(dsn) | changed
    socket = {"host": str(parts["host"]), "port": str(parts["port"])}
    url = URL.create("postgresql+psycopg", username=str(parts["user"]), database=str(parts["dbname"]), query=socket)
    return url.render_as_string(hide_password=False)
