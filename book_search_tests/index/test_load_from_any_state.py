"""Whatever a range holds before it is loaded, it is the same afterwards; and what did not change is not written."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from book_search.index.connection import Connection, connect
from book_search.index.load import load_range
from book_search.index.merging import RowChanges
from book_search.schemas import LEDGER, TAGS
from book_search_tests.database import new_database
from book_search_tests.index.library import digest, embedding_table, register

BOUNDS = (0, 100_000)
DIM = 4
FACETS = ("colour", "a b", "žánr")

# Of each cover: whether there is a picture and which, the other columns of its ledger row, and its tags.
COVER = st.fixed_dictionaries(
    {
        "picture": st.none() | st.integers(0, 3),
        "width": st.none() | st.integers(1, 3),
        "source_url": st.none() | st.sampled_from(["", "https://a/1", "https://a/\0 2"]),
        "fetched_at": st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2021, 1, 1), timezones=st.just(UTC)),
        "tags": st.dictionaries(
            st.sampled_from(FACETS), st.tuples(st.sampled_from(["red", "Ä", ""]), st.sampled_from([0.0, 0.25, 0.75]))
        ),
    }
)
LIBRARY = st.dictionaries(st.integers(0, 9), COVER, max_size=6)


@pytest.fixture(scope="module")
def database(server_dsn: str) -> Iterator[Connection]:
    with new_database(server_dsn) as dsn, connect(dsn) as conn:
        yield conn


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=LIBRARY, after=LIBRARY, by_hand=st.booleans(), same_pictures=st.booleans())
def test_a_range_is_as_it_was_given_whatever_it_held(
    database: Connection, before: dict[int, Any], after: dict[int, Any], by_hand: bool, same_pictures: bool
) -> None:
    if same_pictures:  # then embeddings are the same, and other rows may not be
        after = {i: {**after.get(i, cover), "picture": cover["picture"]} for i, cover in before.items()}
    with database.transaction(force_rollback=True):
        model = register(database, DIM)
        _load(database, model, before)
        if by_hand:
            database.execute("DELETE FROM cover WHERE cover_id % 2 = 0")
            database.execute("UPDATE cover_tag SET probability = 0 WHERE cover_id % 2 = 1")

        changes = _load(database, model, after)
        stored = _stored(database)
        again = _load(database, model, after)

        assert stored == _expected(after)
        assert sum(one.deleted + one.updated + one.inserted for one in again.values()) == 0
        assert _stored(database) == stored
        for table, rows in zip(("cover", "cover_embedding", "cover_tag"), stored, strict=True):
            assert changes[table].inserted + changes[table].updated + changes[table].unchanged == len(rows)
        if before == after and not by_hand:
            assert changes["cover"] == RowChanges(0, 0, 0, len(after))


def _load(conn: Connection, model: int, library: dict[int, Any]) -> dict[str, RowChanges]:
    ids = list(library)
    ledger = {name: [library[i][name] for i in ids] for name in ("width", "source_url", "fetched_at")}
    ledger |= {
        "cover_id": ids,
        "status": [_status(library[i]) for i in ids],
        "sha256": [_hash(library[i]) for i in ids],
    }
    covers = pa.table({field.name: ledger.get(field.name, [None] * len(ids)) for field in LEDGER}, schema=LEDGER)
    pictured = [i for i in ids if library[i]["picture"] is not None]
    vectors = np.zeros((len(pictured), DIM), np.float16)
    for row, i in enumerate(pictured):
        vectors[row, library[i]["picture"]] = 1
    embeddings = embedding_table(pictured, [str(_hash(library[i])) for i in pictured], vectors)
    tagged = [(i, facet, *answer, "a {}") for i in pictured for facet, answer in library[i]["tags"].items()]
    columns = zip(*tagged, strict=True) if tagged else [()] * len(TAGS)
    tags = pa.table([pa.array(column, field.type) for column, field in zip(columns, TAGS, strict=True)], schema=TAGS)
    return load_range(conn, model, BOUNDS, covers, embeddings, tags)


def _expected(library: dict[int, Any]) -> tuple[list[Any], ...]:
    ids = sorted(library)
    pictured = [i for i in ids if library[i]["picture"] is not None]
    ledger = [
        (
            i,
            _hash(one),
            one["width"],
            _status(one),
            one["source_url"] and one["source_url"].replace("\0", ""),
            one["fetched_at"],
        )
        for i, one in ((i, library[i]) for i in ids)
    ]
    embeddings = [(i, _hash(library[i]), library[i]["picture"]) for i in pictured]
    tags = [(i, facet, *answer, "a {}") for i in pictured for facet, answer in sorted(library[i]["tags"].items())]
    return ledger, embeddings, tags


def _stored(conn: Connection) -> tuple[list[Any], ...]:
    ledger = "SELECT cover_id, sha256, width, status, source_url, fetched_at FROM cover ORDER BY cover_id"
    embeddings = conn.execute("SELECT cover_id, sha256, embedding FROM cover_embedding ORDER BY cover_id").fetchall()
    tags = 'SELECT cover_id, facet, tag, probability, template FROM cover_tag ORDER BY cover_id, facet COLLATE "C"'
    pictures = [(i, sha256, int(np.argmax(vector.to_numpy()))) for i, sha256, vector in embeddings]
    return conn.execute(ledger).fetchall(), pictures, conn.execute(tags).fetchall()


def _status(cover: dict[str, Any]) -> str:
    return "missing" if cover["picture"] is None else "ok"


def _hash(cover: dict[str, Any]) -> str | None:
    return None if cover["picture"] is None else digest(cover["picture"])
