"""Connections to the database, wherever it is: which one is meant, how it is reached, what a session is told.

Knows addresses and sessions; nothing of tables.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict

from book_search.index.server import embedded_server

SCHEMA = "book_search"
CONNECT_SECONDS = 10

Connection = psycopg.Connection[tuple[Any, ...]]


class DatabaseUnreachableError(ConnectionError):
    """No connection to the database; the message names the address, without its password, and the setting."""


@contextmanager
def database(database_url: str | None, home: Path) -> Iterator[str]:
    """The address of the database to use: `database_url` itself, or else the embedded server of `home`.

    The embedded server runs for the length of the block; processes that are given its address need not open it.

    Raises:
        EmbeddedServerError: the embedded server is needed and does not start.
    """
    if database_url:
        yield database_url
        return
    with embedded_server(home) as dsn:
        yield dsn


def connect(dsn: str) -> Connection:
    """A connection that commits each statement by itself (use `conn.transaction()`), and knows pgvector's types.

    Its search path is our schema, then pgvector's, whatever the server's settings are.

    Raises:
        DatabaseUnreachableError: the address is malformed, or nobody answers there, or refuses us.
    """
    address = printable(dsn)
    try:
        conn = psycopg.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_SECONDS, fallback_application_name="book_search"
        )
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise DatabaseUnreachableError(
            f"cannot connect to {address} ({reason}); BOOK_SEARCH_DATABASE_URL says which database is used"
        ) from None  # the driver's own traceback may show the whole address
    prepare_session(conn)
    return conn


def prepare_session(conn: Connection) -> None:
    """Set the search path, and register pgvector's types where the extension is there already."""
    extension = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"
    found = conn.execute(extension).fetchone()
    path = f"{SCHEMA}, {'public' if found is None else found[0]}"  # CREATE EXTENSION needs a schema that exists
    conn.execute("SELECT set_config('search_path', %s, false)", [path])
    if found is not None:
        register_vector(conn)


def printable(dsn: str) -> str:
    """The address without its password, for messages.

    Raises:
        DatabaseUnreachableError: it is not an address of Postgres.
    """
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise DatabaseUnreachableError(
            "BOOK_SEARCH_DATABASE_URL is not an address such as postgresql://user:password@host:5432/database; "
            "write %XX for special characters in the password"
        ) from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    host, port = parts.get("host", ""), parts.get("port", "")
    return f"postgresql://{user}{host}{f':{port}' if port else ''}/{parts.get('dbname', '')}"
