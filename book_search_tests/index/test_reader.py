"""The role book_search_reader searches: it changes nothing, sees nothing else, and ends after ten seconds.

What it can do beside is said in sql/080_reader.sql; the last test holds that to the truth.
"""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from book_search.index.connection import Connection, connect
from book_search_tests.index.library import Library

READER = "book_search_reader"


@pytest.fixture
def reader(library_dsn: str) -> Iterator[Connection]:
    with connect(make_conninfo(library_dsn, user=READER)) as conn:
        yield conn


def test_the_reader_searches(reader: Connection, library: Library) -> None:
    assert len(reader.execute("SELECT * FROM search_books(%s, 'ship')", [library.literal(0)]).fetchall()) == 10
    assert len(
        reader.execute("SELECT * FROM search_covers(%s, tag => '{colour:red}')", [library.literal(0)]).fetchall()
    )
    assert len(reader.execute("SELECT * FROM similar_books('OL5M')").fetchall()) == 10
    assert len(reader.execute("SELECT * FROM book_covers('OL5W')").fetchall()) == 1
    assert reader.execute("SELECT words_meant('shpi')").fetchone() == ("ship",)
    assert reader.execute("SELECT count(*) FROM cover_embedding").fetchone() == (24_000,)


def test_the_reader_reads_every_table_and_changes_none(reader: Connection) -> None:
    reader.execute("SET default_transaction_read_only = off")
    tables = reader.execute(
        """SELECT oid::regclass::text FROM pg_class
           WHERE relnamespace = 'book_search'::regnamespace AND relkind IN ('r', 'v')"""
    ).fetchall()

    for (table,) in tables:
        reader.execute(f"SELECT FROM {table} LIMIT 1".encode())
        for change in ("DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES", "TRUNCATE {}", "LOCK {} IN SHARE MODE"):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)):
                reader.execute(f"BEGIN; {change.format(table)}".encode())
            reader.execute("ROLLBACK")
    assert len(tables) >= 9


@pytest.mark.parametrize(
    "forbidden",
    [
        "CREATE TABLE book_search.own ()",
        "CREATE TABLE public.own ()",
        "CREATE TEMPORARY TABLE own ()",
        "CREATE SCHEMA own",
        "CREATE FUNCTION book_search.own() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE ROLE other",
        "CREATE DATABASE other",
        "ALTER TABLE book ADD COLUMN own int",
        "ALTER FUNCTION nearest_covers SET hnsw.ef_search = 1",
        "DROP TABLE book",
        "COMMENT ON TABLE book IS 'mine'",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "ALTER ROLE book_search_reader SUPERUSER",
        "SELECT nextval('index_build_build_seq')",
        "SELECT activate_embedding_model(1)",
        "SELECT register_embedding_model('a', 'b', 'c', 3, 'd')",
        "SELECT show_embeddings()",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'mine')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_read_binary_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')",
        "SELECT pg_stat_file('postgresql.conf')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
        "SELECT pg_reload_conf()",
        "SHOW data_directory",
        "SELECT * FROM pg_authid",
        "COPY book TO '/tmp/book_search'",
        "COPY book FROM '/etc/passwd'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "LOAD 'nothing'",
    ],
)
def test_the_reader_may_do_nothing_else(reader: Connection, forbidden: str) -> None:
    reader.execute("SET default_transaction_read_only = off")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(forbidden.encode())


def test_no_function_that_changes_something_is_the_readers(reader: Connection) -> None:
    rows = reader.execute(
        """SELECT provolatile = 'v', has_function_privilege(oid, 'EXECUTE'), count(*) FROM pg_proc
           WHERE pronamespace = 'book_search'::regnamespace GROUP BY 1, 2"""
    ).fetchall()

    assert {(changes, may) for changes, may, _ in rows} == {(True, False), (False, True)}


def test_the_reader_sees_no_other_schema(library_dsn: str, reader: Connection) -> None:
    with connect(library_dsn) as owner:
        owner.execute("CREATE SCHEMA private; CREATE TABLE private.letters (); CREATE TABLE public.letters ()")
        owner.execute("CREATE FUNCTION private.secret() RETURNS int LANGUAGE sql RETURN 1")
        try:
            for forbidden in (
                "SELECT * FROM private.letters",
                "SELECT private.secret()",
                "SELECT * FROM public.letters",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(forbidden)
            seen = reader.execute(
                """SELECT DISTINCT table_schema FROM information_schema.tables
                   WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"""
            ).fetchall()
            assert seen == [("book_search",)]
        finally:
            owner.execute("DROP SCHEMA private CASCADE; DROP TABLE public.letters")


def test_a_slow_query_of_the_reader_is_cancelled(library_dsn: str, reader: Connection) -> None:
    assert reader.execute("SHOW statement_timeout").fetchone() == ("10s",)
    assert reader.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("1min",)
    alter = "ALTER ROLE book_search_reader IN DATABASE {} SET statement_timeout = '{}'"
    with connect(library_dsn) as owner:
        owner.execute(alter.format(owner.info.dbname, "50ms").encode())
        try:
            with (
                connect(make_conninfo(library_dsn, user=READER)) as hurried,
                pytest.raises(psycopg.errors.QueryCanceled),
            ):
                hurried.execute("SELECT count(*) FROM book a, book b, book c")
        finally:
            owner.execute(alter.format(owner.info.dbname, "10s").encode())


def test_how_long_it_takes_is_the_readers_to_change_as_sql_says(reader: Connection) -> None:
    reader.execute("SET statement_timeout = 0")

    assert reader.execute("SHOW statement_timeout").fetchone() == ("0",)
