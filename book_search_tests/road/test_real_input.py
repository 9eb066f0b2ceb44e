"""The whole road on real lines and real pictures: from the dumps of ../shared to the right rows in Postgres."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from book_search.index.connection import Connection, connect
from book_search.sample.server import Content, SampleServer
from book_search_tests.road.conftest import MakeRoad
from book_search_tests.road.real_input import DUMP_DATE, RealInput, real_input, sha256

WIDE = {  # a filter that keeps every edition with a cover
    "LANGUAGES": "",
    "SUBJECT": "",
    "JUVENILE": "true",
    "PAGES_OVER": "",
    "YEARS": "",
}


@dataclass(frozen=True)
class Finished:
    """The database at the road's end, and the server that counted what the second run asked for."""

    connection: Connection
    server: SampleServer


@pytest.fixture(scope="module")
def real(shared: Path) -> RealInput:
    return real_input(shared)


@pytest.fixture(scope="module")
def road(real: RealInput, make_road: MakeRoad) -> Iterator[Finished]:
    """The road run twice: what the second run asks for is counted by the server."""
    content = Content(date.fromisoformat(DUMP_DATE), real.dumps, dict(real.pictures))
    with make_road("real", content, **WIDE) as road:
        assert {*road.run()} >= {"books", "covers", "search_index", "relevance_report"}
        road.server.forget()
        road.run()
        with connect(road.dsn) as connection:
            yield Finished(connection, road.server)


def test_every_edition_with_a_cover_is_in_the_table_once(road: Finished, real: RealInput) -> None:
    rows = road.connection.execute("select edition_key, title, cover_id from book").fetchall()

    assert {key: cover_id for key, _, cover_id in rows} == real.covers_of
    assert {key: title for key, title, _ in rows} == real.titles_of
    assert len(rows) == len(real.covers_of) > 200


def test_every_cover_has_the_status_and_the_bytes_that_were_served(road: Finished, real: RealInput) -> None:
    rows = road.connection.execute("select cover_id, status, sha256 from cover").fetchall()

    expected = {
        cover_id: ("ok", sha256(real.pictures[cover_id])) if cover_id in real.pictures else ("missing", None)
        for cover_id in set(real.covers_of.values())
    }
    assert {cover_id: (status, digest) for cover_id, status, digest in rows} == expected


def test_every_picture_has_a_unit_vector_and_equal_pictures_have_equal_ones(road: Finished, real: RealInput) -> None:
    rows = road.connection.execute("select cover_id, sha256, embedding from cover_embedding").fetchall()

    assert {cover_id for cover_id, _, _ in rows} == set(real.pictures)
    by_picture: dict[str, np.ndarray] = {}
    for _, digest, embedding in rows:
        vector = embedding.to_numpy().astype(np.float32)
        assert abs(np.linalg.norm(vector) - 1) < 1e-3
        # Ranges are embedded apart, in batches of other pictures: the last bit of float16 may differ.
        assert np.allclose(by_picture.setdefault(digest, vector), vector, atol=1e-3)
    assert len(by_picture) == len({sha256(picture) for picture in real.pictures.values()})


def test_the_funnel_begins_with_every_edition_and_ends_with_the_books(road: Finished, real: RealInput) -> None:
    funnel = road.connection.execute("select rule, rows_in, rows_out from filter_funnel order by position").fetchall()

    assert funnel[-1][2] == len(real.covers_of)
    assert all(above[2] == below[1] for above, below in itertools.pairwise(funnel))


def test_the_index_was_built_once_and_finds_what_it_should(
    road: Finished,
) -> None:
    assert road.connection.execute("select count(*), min(recall) >= 0.98 from index_build").fetchone() == (1, True)


def test_the_second_run_asked_for_no_dump_and_no_cover(road: Finished) -> None:
    bodies = [asked for asked in road.server.asked if asked.method == "GET" and asked.status == 200]
    assert bodies == []
    assert not [asked for asked in road.server.asked if asked.path.startswith("/b/id/")]
