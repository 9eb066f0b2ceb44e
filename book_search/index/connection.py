"""Connections to the database, wherever it is: which one is meant, how it is reached, what a session is told.

Knows addresses and sessions; nothing of tables.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict

from book_search.index.server import embedded_server

SCHEMA = "book_search"
# A server that does not answer, and a connection whose other end is gone without a word (a cable, a machine), are
# errors after so long. An address that says otherwise by the same names is obeyed.
PATIENCE: dict[str, Any] = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,  # seconds of silence until the other end is asked whether it is there
    "keepalives_interval": 10,  # seconds between two such questions
    "keepalives_count": 3,  # questions without an answer
    "tcp_user_timeout": 60_000,  # milliseconds that what was sent may stay without an acknowledgement
}
# The longest that a statement, its waiting for a lock, and a pause inside a transaction may take, in seconds.
STATEMENT_SECONDS, LOCK_SECONDS, PAUSE_SECONDS = 12 * 3600, 2 * 3600, 3600
# An @, / or ? in a password ends it, and what follows would be told as the host, or the database.
UNAMBIGUOUS = re.compile(r"\w+://([^/?@]*@)?[^@]*|(?!\w+://).*", re.DOTALL)
# A server that answers so is there, and will take us soon; any other refusal of its own comes again.
BUSY = re.compile(r"starting up|shutting down|recovery|too many|slots")

Connection = psycopg.Connection[tuple[Any, ...]]


class DatabaseUnreachableError(ConnectionError):
    """No connection to the database; the message names the address, without its password, and the setting.

    Attributes:
        lasting: whether it is the server, or the address, that refuses us, so that the same will be said again.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


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
        said = conninfo_to_dict(dsn)
        conn = psycopg.connect(
            dsn,
            autocommit=True,
            fallback_application_name="book_search",
            **{name: value for name, value in PATIENCE.items() if name not in said},
        )
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise DatabaseUnreachableError(
            f"cannot connect to {address} ({reason}); BOOK_SEARCH_DATABASE_URL says which database is used",
            lasting="FATAL" in reason and not BUSY.search(reason),
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


def bound_session(conn: Connection) -> None:
    """Have the server end what takes longer than any work of a run should, and look whether we are still there.

    A load waits for the index that another run builds, so a lock may take long. A session whose machine is gone would
    else hold its locks for two hours, until the kernel's own keepalives find out.
    """
    limits = {
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "lock_timeout": f"{LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{PAUSE_SECONDS}s",
        "tcp_keepalives_idle": "60",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "6",
    }
    for name, value in limits.items():
        conn.execute("SELECT set_config(%s, %s, false)", [name, value])


def printable(dsn: str) -> str:
    """The address without its password, for messages.

    Raises:
        DatabaseUnreachableError: it is not an address of Postgres.
    """
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        parts = {}
    if not parts or not UNAMBIGUOUS.fullmatch(dsn):
        raise DatabaseUnreachableError(
            "BOOK_SEARCH_DATABASE_URL is not an address such as postgresql://user:password@host:5432/database; "
            "write %XX for special characters in the password",
            lasting=True,
        ) from None
    user = f"{parts['user']}@" if parts.get("user") else ""
    host, port = parts.get("host", ""), parts.get("port", "")
    return f"postgresql://{user}{host}{f':{port}' if port else ''}/{parts.get('dbname', '')}"
