"""Connections are lent again after an answer, and never after an error or once the server let go of them."""

from contextlib import ExitStack

import psycopg
import pytest

from book_search.index.connection import Connection, DatabaseUnreachableError, connect
from book_search.web.connections import ReadingConnections


def pid(connection: Connection) -> int:
    return connection.info.backend_pid


def test_a_connection_is_lent_again_and_can_change_nothing(database_dsn: str) -> None:
    connections = ReadingConnections(database_dsn)
    with connections.lend() as first:
        before = pid(first)

    with connections.lend() as again, connections.lend() as another:
        assert pid(again) == before != pid(another)
        assert again.execute("SHOW statement_timeout").fetchone() == ("10s",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            again.execute("CREATE TABLE mine (n integer)")
    connections.close()


def test_a_connection_that_met_an_error_is_closed(database_dsn: str) -> None:
    connections = ReadingConnections(database_dsn)
    with pytest.raises(psycopg.errors.UndefinedTable), connections.lend() as first:
        first.execute("SELECT * FROM nothing_of_this_name")

    with connections.lend() as second:
        assert first.closed
        assert second.execute("SELECT 1").fetchone() == (1,)
    connections.close()


def test_a_server_that_was_started_anew_is_noticed_by_nobody(database_dsn: str) -> None:
    connections = ReadingConnections(database_dsn)
    with connections.lend() as first:
        gone = pid(first)
    with connect(database_dsn) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [gone])

    with connections.lend() as second:
        assert pid(second) != gone
        assert second.execute("SELECT 1").fetchone() == (1,)
    connections.close()


def test_no_more_are_kept_than_are_of_use_and_none_after_the_end(database_dsn: str) -> None:
    connections = ReadingConnections(database_dsn, kept=2)
    with ExitStack() as stack:
        lent = [stack.enter_context(connections.lend()) for _ in range(5)]
        assert len({pid(each) for each in lent}) == 5

    assert sum(not each.closed for each in lent) == 2
    connections.close()
    with connections.lend() as last:
        pass
    assert last.closed
    assert all(each.closed for each in lent)


def test_an_address_where_nobody_answers_is_told() -> None:
    with (
        pytest.raises(DatabaseUnreachableError, match="cannot connect"),
        ReadingConnections("postgresql://127.0.0.1:1/none").lend(),
    ):
        pass
