"""Fixtures of the index's tests: a real server, and a library of 24,000 books loaded and indexed once."""

from collections.abc import Iterator

import pytest

from book_search.index.build import build_index
from book_search.index.connection import Connection, connect
from book_search.index.load import load_books, load_range
from book_search_tests.database import *  # noqa: F403
from book_search_tests.database import new_database
from book_search_tests.index.library import Library, draw_library, register


@pytest.fixture(scope="session")
def library() -> Library:
    """24,000 books with clustered vectors: enough that half of them are walked through in the graph."""
    return draw_library(24_000, dim=32)


@pytest.fixture(scope="session")
def library_dsn(server_dsn: str, library: Library) -> Iterator[str]:
    """A database with the library in it, indexed."""
    with new_database(server_dsn) as dsn:
        with connect(dsn) as conn:
            model = register(conn, dim=32)
            load_books(conn, library.books)
            load_range(conn, model, (0, 100_000), library.covers, library.embeddings, library.tags)
            build_index(conn, model)
        yield dsn


@pytest.fixture
def searching(library_dsn: str) -> Iterator[Connection]:
    """A connection to the library, whose changes are undone."""
    with connect(library_dsn) as conn, conn.transaction(force_rollback=True):
        yield conn
