"""Somebody else's Postgres will do: another version, over TCP, with a password, as a user of few rights."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from book_search.index import build
from book_search.index.binaries import postgres_binary
from book_search.index.build import build_index
from book_search.index.connection import DatabaseUnreachableError, connect
from book_search.index.load import load_books, load_range
from book_search.index.schema import UnfitServerError, apply_sql
from book_search.index.server_settings import look_at_server
from book_search_tests.index.foreign import foreign_server, older_programs
from book_search_tests.index.library import draw_library, register


@pytest.fixture(scope="module")
def foreign(open_folder: Path) -> Iterator[str]:
    """A PostgreSQL 16 that knows no letters but ASCII's; yields its address but for the scheme and the database."""
    with foreign_server(older_programs(), open_folder / "foreign", "C") as address:
        yield address


@pytest.fixture
def owner_dsn(foreign: str) -> Iterator[str]:
    """The address of a database whose owner may make no roles and no extensions."""
    with psycopg.connect(f"postgresql://{foreign}/postgres", autocommit=True) as boss:
        boss.execute("CREATE ROLE owner LOGIN PASSWORD 'of few rights'")
        boss.execute("CREATE DATABASE books OWNER owner")
        yield f"postgresql://owner:of%20few%20rights@{foreign.split('@')[1]}/books"
        boss.execute("DROP DATABASE books WITH (FORCE)")
        boss.execute("DROP ROLE owner")


def test_an_owner_without_other_rights_applies_loads_builds_and_searches(foreign: str, owner_dsn: str) -> None:
    rows = draw_library(300, dim=8)
    with psycopg.connect(f"postgresql://{foreign}/books", autocommit=True) as boss:
        boss.execute("CREATE SCHEMA extensions; GRANT USAGE ON SCHEMA extensions TO owner")
        boss.execute("CREATE EXTENSION vector SCHEMA extensions")

    with connect(owner_dsn) as conn:
        assert apply_sql(conn)
        assert not apply_sql(conn)
        model = register(conn, dim=8)
        load_books(conn, rows.books)
        load_range(conn, model, (0, 1000), rows.covers, rows.embeddings, rows.tags)
        assert build_index(conn, model).recall >= 0.98
        found = conn.execute("SELECT edition_key FROM search_books(%s, k => 5)", [rows.literal(3)]).fetchall()
        reader = conn.execute("SELECT to_regrole('book_search_reader')").fetchone()

    assert found[0] == ("OL3M",)
    assert reader == (None,)
    with psycopg.connect(owner_dsn) as plain:
        assert plain.execute("SELECT edition_key FROM similar_books('OL3M', 1)").fetchone() == found[1]


def test_an_owner_without_other_rights_swaps_tables_and_switches_models(foreign: str, owner_dsn: str) -> None:
    rows, others = draw_library(300, dim=8), draw_library(300, dim=8, seed=1)
    with psycopg.connect(f"postgresql://{foreign}/books", autocommit=True) as boss:
        boss.execute("CREATE EXTENSION vector")

    with connect(owner_dsn) as conn, connect(owner_dsn) as searching:
        apply_sql(conn)
        load_books(conn, rows.books)
        first, second = register(conn, dim=8), register(conn, dim=8, model_id="second")
        for model in (first, second):
            load_range(conn, model, (0, 1000), rows.covers, rows.embeddings, rows.tags)
            build_index(conn, model)
        at = others.embeddings.schema.get_field_index("sha256")
        hashes = [["f" * 64] * 300]
        covers = rows.covers.set_column(rows.covers.schema.get_field_index("sha256"), "sha256", hashes)
        load_range(conn, first, (0, 1000), covers, others.embeddings.set_column(at, "sha256", hashes), rows.tags)
        nearest = "SELECT cover_id, round(cosine::numeric, 2) FROM search_covers(%s, 1)"
        assert searching.execute(nearest, [rows.literal(3)]).fetchone() == (3, 1)  # the second's, which stay
        swapped = build_index(conn, first)
        assert searching.execute(nearest, [others.literal(3)]).fetchone() == (3, 1)
        conn.execute("SELECT activate_embedding_model(%s)", [second])
        assert searching.execute(nearest, [rows.literal(3)]).fetchone() == (3, 1)

    assert (swapped.rebuilt, swapped.rows) == (True, 300)


def test_a_parallel_build_without_room_in_shared_memory_is_done_by_one_process(
    foreign: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = draw_library(300, dim=8)
    with psycopg.connect(f"postgresql://{foreign}/postgres", autocommit=True) as boss:
        boss.execute("CREATE DATABASE crowded")
        boss.execute("ALTER DATABASE crowded SET min_parallel_table_scan_size = 0")  # or so few rows get no worker
    monkeypatch.setattr(build, "build_memory", lambda *_: (2**40, 2))  # more than any /dev/shm

    with connect(f"postgresql://{foreign}/crowded") as conn:
        apply_sql(conn)
        model = register(conn, dim=8)
        load_range(conn, model, (0, 1000), rows.covers, rows.embeddings, rows.tags)
        built = build_index(conn, model)
    with psycopg.connect(f"postgresql://{foreign}/postgres", autocommit=True) as boss:
        boss.execute("DROP DATABASE crowded")

    assert "No room for a parallel build (could not resize shared memory segment" in caplog.text
    assert (built.rebuilt, built.rows) == (True, 300)


def test_the_reader_comes_when_somebody_who_may_applies_the_files(foreign: str, owner_dsn: str) -> None:
    with psycopg.connect(f"postgresql://{foreign}/books", autocommit=True) as boss:
        boss.execute("CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions")  # closed to all others
    with connect(f"postgresql://{foreign}/books") as boss:
        apply_sql(boss)
        boss.execute("ALTER ROLE book_search_reader PASSWORD 'reading'")
        with psycopg.connect(f"postgresql://book_search_reader:reading@{foreign.split('@')[1]}/books") as reader:
            assert reader.execute("SELECT count(*) FROM book").fetchone() == (0,)
            assert reader.execute("SELECT '[1]'::halfvec <=> '[1]'").fetchone() == (0,)
        boss.execute("DROP OWNED BY book_search_reader; DROP ROLE book_search_reader")


def test_an_owner_who_may_not_install_pgvector_is_told_what_to_have_run(owner_dsn: str) -> None:
    with connect(owner_dsn) as conn, pytest.raises(UnfitServerError, match="CREATE EXTENSION vector"):
        apply_sql(conn)


def test_a_wrong_password_is_an_error_of_one_sentence(foreign: str) -> None:
    address = foreign.split("@")[1]
    with pytest.raises(
        DatabaseUnreachableError, match=f"cannot connect to postgresql://boss@{address}/postgres"
    ) as caught:
        connect(f"postgresql://boss:nonsense@{address}/postgres")

    assert "nonsense" not in str(caught.value)


def test_a_database_of_another_encoding_is_refused(foreign: str) -> None:
    with psycopg.connect(f"postgresql://{foreign}/postgres", autocommit=True) as boss:
        boss.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with connect(f"postgresql://{foreign}/latin") as conn, pytest.raises(UnfitServerError, match="stores LATIN1"):
        apply_sql(conn)


def test_a_database_that_knows_no_letters_but_asciis_is_told_of(foreign: str) -> None:
    with connect(f"postgresql://{foreign}/postgres") as conn:
        (letters,) = [found for found in look_at_server(conn) if found.what == "letters"]

    assert not letters.good
    assert "in C Greek and Cyrillic words are found only as they are written" in letters.says
    assert "LOCALE 'C.UTF-8'" in letters.says


def test_the_embedded_servers_psql_speaks_to_it(foreign: str) -> None:
    done = subprocess.run(
        [postgres_binary("psql"), "-X", "-A", "-t", "-c", "SHOW server_version", f"postgresql://{foreign}/postgres"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("16."), done.stderr
