"""The files of sql/ make the schema on any fit server, again and again, and the reader can only read."""

import logging
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from book_search.index.connection import Connection, DatabaseUnreachableError, connect, database
from book_search.index.load import load_books
from book_search.index.schema import UnfitServerError, apply_sql, check_server, sql_folder
from book_search.index.server import postgres_binary
from book_search_tests.index.library import Library, draw_library, with_values

UNCOMMENTED = """
    SELECT 'schema' WHERE obj_description('book_search'::regnamespace, 'pg_namespace') IS NULL
    UNION ALL
    SELECT 'role' WHERE shobj_description('book_search_reader'::regrole, 'pg_authid') IS NULL
    UNION ALL
    SELECT c.oid::regclass::text FROM pg_class c
    WHERE c.relnamespace = 'book_search'::regnamespace AND c.relkind IN ('r', 'v')
        AND obj_description(c.oid, 'pg_class') IS NULL
    UNION ALL
    SELECT c.relname FROM pg_class c JOIN pg_type t ON t.oid = c.reltype
    WHERE c.relnamespace = 'book_search'::regnamespace AND c.relkind = 'c' AND obj_description(t.oid, 'pg_type') IS NULL
    UNION ALL
    SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = 'book_search'::regnamespace AND obj_description(c.oid, 'pg_class') IS NULL
        AND NOT EXISTS (SELECT FROM pg_constraint n WHERE n.conindid = i.indexrelid)
    UNION ALL
    SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'book_search'::regnamespace AND c.relkind IN ('r', 'v', 'c') AND a.attnum > 0
        AND NOT a.attisdropped AND col_description(a.attrelid, a.attnum) IS NULL
    UNION ALL
    SELECT oid::regprocedure::text FROM pg_proc
    WHERE pronamespace = 'book_search'::regnamespace
        AND coalesce(obj_description(oid, 'pg_proc'), '') NOT LIKE '%Example: SELECT%'"""


def test_unchanged_files_are_not_applied_again(connection: Connection) -> None:
    assert apply_sql(connection) is False

    connection.execute("UPDATE applied_sql SET sha256 = 'another' WHERE file LIKE '%books%'")

    assert apply_sql(connection) is True
    assert apply_sql(connection) is False


def test_applying_again_keeps_the_rows(searching: Connection, library: Library) -> None:
    searching.execute("DELETE FROM applied_sql")

    apply_sql(searching)

    assert searching.execute("SELECT count(*) FROM book").fetchone() == (library.books.num_rows,)
    found = searching.execute("SELECT * FROM search_books(%s, k => 3)", [library.literal(0)]).fetchall()
    assert len(found) == 3


def test_words_are_made_anew_where_sql_makes_them_otherwise(connection: Connection) -> None:
    """As it is after an update of book_search: what is stored was made by functions that are no more."""
    connection.execute("CREATE OR REPLACE FUNCTION folded(content text) RETURNS text IMMUTABLE RETURN content")
    load_books(connection, with_values(draw_library(3, dim=8).books, 1, title="Brontë", publisher="Nørsk"))
    plain = """SELECT cover_id FROM book
               WHERE words @@ phrase('bronte') AND words_of(publisher, 'A', 1000) @@ phrase('norsk')"""
    untouched = "SELECT xmin::text FROM book WHERE cover_id <> 1"
    before = connection.execute(untouched).fetchall()
    connection.execute("DELETE FROM applied_sql")

    apply_sql(connection)

    connection.execute("SET enable_seqscan = off")  # the index of the publishers' words is asked, too
    assert connection.execute(plain).fetchall() == [(1,)]
    assert connection.execute(untouched).fetchall() == before


def test_psql_alone_applies_the_files_twice(server_dsn: str) -> None:
    files = b"".join(path.read_bytes() for path in sorted(sql_folder().glob("*.sql")))
    with connect(make_conninfo(server_dsn, dbname="postgres")) as admin:
        admin.execute("CREATE DATABASE by_psql")
        try:
            for _ in range(2):
                done = subprocess.run(
                    [
                        *(postgres_binary("psql"), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"),
                        make_conninfo(server_dsn, dbname="by_psql"),
                    ],
                    input=files,
                    capture_output=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
        finally:
            admin.execute("DROP DATABASE by_psql")


def test_everything_in_the_schema_says_what_it_is(searching: Connection) -> None:
    assert searching.execute(UNCOMMENTED).fetchall() == []


def test_every_example_in_a_functions_comment_runs(searching: Connection, library: Library) -> None:
    comments = searching.execute(
        """SELECT obj_description(oid, 'pg_proc') FROM pg_proc WHERE pronamespace = 'book_search'::regnamespace"""
    ).fetchall()
    examples = {comment.split("Example: ")[1] for (comment,) in comments}

    for example in examples:
        searching.execute(example.replace(":'q'", f"'{library.literal(0)}'").encode())

    assert len(examples) >= 15


def test_names_are_found_without_their_schema_from_any_client(library_dsn: str) -> None:
    with psycopg.connect(library_dsn) as plain:
        assert plain.execute("SELECT title FROM book WHERE edition_key = 'OL3M'").fetchone() == ("The Ship 3",)


def test_the_session_of_the_design_works_in_psql(library_dsn: str, library: Library, tmp_path: Path) -> None:
    embedded = tmp_path / "embedded"
    embedded.write_text(library.literal(5))
    session = (
        f"\\set q `cat {embedded}`\n"
        "select * from search_books(:'q', 'a ship under a full moon', 10);\n"
        "select * from search_covers(:'q', 3, year_from => 1910, tag => '{colour:blue}');\n"
    )

    done = subprocess.run(
        [postgres_binary("psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", library_dsn],
        input=session,
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 13
    assert done.stdout.startswith("OL5M|OL5W|The Ship 5|")


@pytest.mark.parametrize(
    ("version", "outcome"), [("0.8.1", "CVE-2026-3172"), ("0.8.3", "vacuumed"), ("0.8.4", ""), ("0.10.0", "")]
)
def test_an_unsafe_pgvector_is_refused_or_warned_of(
    connection: Connection, caplog: pytest.LogCaptureFixture, version: str, outcome: str
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE pg_extension SET extversion = %s WHERE extname = 'vector'", [version])
        if "CVE" in outcome:
            with pytest.raises(UnfitServerError, match=outcome):
                check_server(connection)
            return
        with caplog.at_level(logging.WARNING):
            check_server(connection)

    assert (outcome in caplog.text) if outcome else caplog.text == ""


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnreachableError) as caught:
        connect("postgresql://me:secret@127.0.0.1:1/books")

    assert "postgresql://me@127.0.0.1:1/books" in str(caught.value)
    assert "BOOK_SEARCH_DATABASE_URL" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(DatabaseUnreachableError, match="is not an address") as caught:
        connect("postgresql://me:sec ret@host:port:1/books")
    assert "ret" not in str(caught.value).replace("Postgres", "").replace("write", "")


def test_a_given_url_is_used_as_it_is(tmp_path: Path) -> None:
    with database("postgresql://elsewhere/books", tmp_path) as dsn:
        assert dsn == "postgresql://elsewhere/books"

    assert list(tmp_path.iterdir()) == []
