"""What is wrong with a server's settings is said before a build, with the figures and the way to mend it."""

import logging
from pathlib import Path

import pytest

from book_search.cli.health import examine
from book_search.index import server_settings
from book_search.index.build import build_index
from book_search.index.connection import Connection
from book_search.index.load import load_range
from book_search.index.server_settings import ServerFinding, build_memory, look_at_server, look_before_building
from book_search_tests.index.library import draw_library, register

MILLIONS = 50_000_000  # rows, more than any machine that runs the tests has memory for


def test_a_server_that_will_do_has_nothing_to_be_mended(searching: Connection) -> None:
    found = _by_name(look_at_server(searching))

    assert [name for name, one in found.items() if not one.good] == []
    assert "24000 embeddings" in found["build memory"].says
    assert "mmap" in found["shared memory"].says
    assert found["extensions"].says.startswith("plpgsql, vector; none but vector is needed")


def test_an_empty_database_is_looked_at_for_what_is_planned(connection: Connection) -> None:
    assert "100000 embeddings" in _by_name(look_at_server(connection))["build memory"].says


def test_too_little_memory_and_no_workers_are_told_with_their_cost_and_their_cure(connection: Connection) -> None:
    connection.execute("SET max_parallel_maintenance_workers = 0")

    found = _by_name(look_before_building(connection, MILLIONS, 512))

    assert set(found) == {"build memory", "parallel build"}
    assert "takes 2.5 times as long: ALTER ROLE CURRENT_USER SET maintenance_work_mem = '" in found["build memory"].says
    assert "SET max_parallel_maintenance_workers = 1" in found["parallel build"].says


def test_shared_memory_is_looked_at_where_the_workers_would_use_it(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = server_settings._text
    monkeypatch.setattr(
        server_settings, "_text", lambda conn, name: "posix" if name.startswith("dynamic") else text(conn, name)
    )
    monkeypatch.setattr(server_settings, "build_memory", lambda *_: (2**40, 1))

    found = _by_name(look_before_building(connection, 1000, 8))

    assert "a parallel build needs 1048576MB" in found["shared memory"].says
    assert "--shm-size, or set dynamic_shared_memory_type = mmap" in found["shared memory"].says


def test_a_build_takes_no_more_memory_than_its_graph_needs(connection: Connection) -> None:
    connection.execute("SET maintenance_work_mem = '1GB'")

    assert build_memory(connection, 1000, 512)[0] == 32 * 2**20
    assert build_memory(connection, 100_000, 512)[0] == 100_000 * 1824 * 12 // 10
    assert build_memory(connection, MILLIONS, 512)[0] >= 2**30


def test_a_build_tells_beforehand_what_will_make_it_slow(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    rows = draw_library(50, dim=8)
    model = register(connection, dim=8)
    load_range(connection, model, (0, 1000), rows.covers, rows.embeddings, rows.tags)
    connection.execute("SET max_parallel_maintenance_workers = 0")

    with caplog.at_level(logging.WARNING):
        build_index(connection, model)

    assert "parallel build: no workers, so it takes 1.7 times as long" in caplog.text


@pytest.mark.parametrize(
    ("version", "name", "good", "says"),
    [
        ("0.8.1", "database", False, "CVE-2026-3172); update it, then: ALTER EXTENSION vector UPDATE"),
        ("0.8.3", "server", True, "pgvector 0.8.3 can damage an HNSW index when it is vacuumed; update it"),
    ],
)
def test_the_doctor_tells_of_an_unsafe_pgvector_and_the_cure(
    connection: Connection,
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    name: str,
    good: bool,
    says: str,
) -> None:
    connection.execute("UPDATE pg_extension SET extversion = %s WHERE extname = 'vector'", [version])
    monkeypatch.setenv("BOOK_SEARCH_DATABASE_URL", database_dsn)
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))
    monkeypatch.setenv("BOOK_SEARCH_MODEL", str(tmp_path))

    (found,) = [finding for finding in examine() if finding.what == name]

    assert (found.good, found.warns) == (good, good)
    assert says in found.says


def _by_name(found: list[ServerFinding]) -> dict[str, ServerFinding]:
    return {one.what: one for one in found}
