"""Fixtures with a real Postgres; a folder of tests takes them by `from book_search_tests.database import *`."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from book_search.index.connection import Connection, connect
from book_search.index.schema import apply_sql
from book_search.index.server import embedded_server

MEMORY_DISK = Path("/dev/shm")  # servers that live for a second need not wait for a busy disk
MEMORY_NEEDED = 4 * 2**30  # a container usually has 64 MB of it

__all__ = ["connection", "database_dsn", "new_database", "open_folder", "server_dsn"]


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that the server's account can reach even when root runs the tests (pytest's own are closed)."""
    roomy = MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > MEMORY_NEEDED
    folder = Path(tempfile.mkdtemp(prefix="book_search-tests-", dir=MEMORY_DISK if roomy else None))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server_dsn(open_folder: Path) -> Iterator[str]:
    """The embedded server with the schema applied; its own database is the pattern for the others and stays empty."""
    with embedded_server(open_folder / "server") as dsn:
        with connect(dsn) as conn:
            apply_sql(conn)
        yield dsn


@pytest.fixture
def database_dsn(server_dsn: str) -> Iterator[str]:
    """An empty database of its own, with the schema."""
    with new_database(server_dsn) as dsn:
        yield dsn


@pytest.fixture
def connection(database_dsn: str) -> Iterator[Connection]:
    """A connection to `database_dsn`."""
    with connect(database_dsn) as conn:
        yield conn


@contextmanager
def new_database(server_dsn: str) -> Iterator[str]:
    """The address of a copy of the server's empty database, for the length of the block."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    dsn = make_conninfo(server_dsn, dbname=name)
    with psycopg.connect(make_conninfo(server_dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE book_search").format(sql.Identifier(name)))
        try:
            with connect(dsn) as conn:
                # A copy has the pattern's tables, but not what was set for the pattern by its name.
                conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
                conn.execute("DELETE FROM applied_sql")
                apply_sql(conn)
            yield dsn
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
