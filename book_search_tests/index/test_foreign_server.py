"""Somebody else's Postgres will do: another version, over TCP, with a password, as a user of few rights."""

import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from book_search.index import build
from book_search.index.binaries import postgres_binary, server_account
from book_search.index.build import build_index
from book_search.index.connection import DatabaseUnreachableError, connect
from book_search.index.load import load_books, load_range
from book_search.index.schema import UnfitServerError, apply_sql
from book_search_tests.index.library import draw_library, register

OLDER_PROGRAMS = "pginstall"  # PostgreSQL 16, beside the 18 that is embedded


@pytest.fixture(scope="module")
def foreign(open_folder: Path) -> Iterator[str]:
    """A PostgreSQL 16 on a loopback port with a superuser `boss`; yields its address but for the user and database."""
    programs = postgres_binary("postgres").parents[2] / OLDER_PROGRAMS / "bin"
    account = server_account()
    password = secrets.token_hex(8)
    folder = open_folder / "foreign"
    folder.mkdir()
    (folder / "password").write_text(password)
    if not account.can("-x", programs / "initdb"):  # the environment lies in a closed folder
        lib = programs.parents[1]
        programs = Path(shutil.copytree(lib / OLDER_PROGRAMS, folder / OLDER_PROGRAMS, symlinks=True)) / "bin"
        if (libraries := lib.parent / f"{lib.name}.libs").is_dir():
            shutil.copytree(libraries, folder.parent / libraries.name, symlinks=True, dirs_exist_ok=True)
    if account.switch:
        shutil.chown(folder, account.uid, account.gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    made = account.run(
        *(programs / "initdb", "-D", data, "-U", "boss", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"),
        f"--pwfile={folder / 'password'}",
    )
    assert made.returncode == 0, made.stdout
    options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    started = account.run(programs / "pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", options)
    assert started.returncode == 0, started.stdout
    yield f"boss:{password}@127.0.0.1:{port}"
    account.run(programs / "pg_ctl", "stop", "-w", "-D", data, "-m", "immediate")


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
    with connect(f"postgresql://{foreign}/books") as boss:
        apply_sql(boss)
        boss.execute("ALTER ROLE book_search_reader PASSWORD 'reading'")
        with psycopg.connect(f"postgresql://book_search_reader:reading@{foreign.split('@')[1]}/books") as reader:
            assert reader.execute("SELECT count(*) FROM book").fetchone() == (0,)
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


def test_the_embedded_servers_psql_speaks_to_it(foreign: str) -> None:
    done = subprocess.run(
        [postgres_binary("psql"), "-X", "-A", "-t", "-c", "SHOW server_version", f"postgresql://{foreign}/postgres"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("16."), done.stderr
