"""The tests of Dagster's part may have a database: the embedded one, or somebody else's over TCP, with a password."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from book_search_tests.database import *  # noqa: F403
from book_search_tests.index.foreign import foreign_server, older_programs
from book_search_tests.road.conftest import make_road  # noqa: F401


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's records, in memory, of one test."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(scope="session")
def foreign(open_folder: Path) -> Iterator[str]:
    """A PostgreSQL 16 with a superuser `boss`; yields its address but for the scheme and the database."""
    with foreign_server(older_programs(), open_folder / "foreign-to-dagster", "C") as address:
        yield address
