"""Connections to the database that can change nothing, kept warm between questions.

A question on a new connection takes some 40 ms more than on one that answered before: the connection itself, and then
every function and index that Postgres looks at for the first time. Knows sessions; nothing of what is asked.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from book_search.index.connection import Connection, connect

STATEMENT_SECONDS = 10  # as for book_search_reader: nobody waits longer for a page
KEPT = 4  # connections that nobody uses at the moment; what comes in a rush beyond them is closed again


class ReadingConnections:
    """Lends connections that read only and give up slow statements. Threads may share it.

    Args:
        dsn: the database's address.
        kept: how many wait for the next question at most.
    """

    def __init__(self, dsn: str, kept: int = KEPT) -> None:
        self._dsn = dsn
        self._kept = kept
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """A connection, for the length of the block; after an error in it, it is not lent again.

        Raises:
            DatabaseUnreachableError: as `connect`.
        """
        connection = self._take()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close what is kept, and keep nothing more."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return _connected(self._dsn)
            # Asked each time, for a tenth of a millisecond: the server may have been started anew meanwhile.
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError:
                connection.close()
            else:
                return connection

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if (
                not self._closed
                and len(self._idle) < self._kept
                and connection.info.transaction_status is TransactionStatus.IDLE
            ):
                self._idle.append(connection)
                return
        connection.close()


def _connected(dsn: str) -> Connection:
    connection = connect(dsn)
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{STATEMENT_SECONDS}s"])
    connection.execute("SET default_transaction_read_only = on")
    return connection
