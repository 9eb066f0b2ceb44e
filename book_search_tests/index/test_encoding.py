"""Blocks of COPY BINARY laid out from Arrow columns make the same tables as psycopg's own rows do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from book_search.index import encoding
from book_search.index.connection import Connection, connect
from book_search.index.copying import copy_rows
from book_search_tests.database import new_database

ARROW: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "text": pa.string(),
    "text[]": pa.list_(pa.string()),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "\0", "a\0b", "žluťoučký 🐎"]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int2": st.integers(-(2**15), 2**15 - 1),
    "int4": st.integers(-(2**31), 2**31 - 1),
    "int8": st.integers(-(2**63), 2**63 - 1),
    "float4": st.floats(width=32),
    "float8": st.floats(),
    "date": st.dates(),
    "timestamptz": st.datetimes(datetime(1, 1, 2), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11))])),
    "text": TEXT,
    "text[]": st.lists(st.none() | TEXT, max_size=4),
}
ROWS = st.lists(st.tuples(*(st.none() | VALUES[kind] for kind in ARROW)), min_size=1, max_size=12)
COLUMNS = {f"c{at}": kind for at, kind in enumerate(ARROW)}


@pytest.fixture(scope="module")
def tables(server_dsn: str) -> Iterator[Connection]:
    """A connection to a database with two tables of all types: `ours` and `theirs`."""
    with new_database(server_dsn) as dsn, connect(dsn) as conn:
        for name in ("ours", "theirs"):
            columns = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in COLUMNS.items()
            )
            conn.execute(sql.SQL("CREATE TEMPORARY TABLE {} (row serial, {})").format(sql.Identifier(name), columns))
        yield conn


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS, cut=st.integers(0, 12))
def test_blocks_and_psycopgs_rows_make_the_same_table(
    tables: Connection, rows: Sequence[tuple[object, ...]], cut: int
) -> None:
    with tables.transaction(force_rollback=True):
        copied = copy_rows(
            tables, sql.Identifier("ours"), COLUMNS, [_batch(rows).slice(0, cut), _batch(rows).slice(cut)]
        )
        _write_rows(tables, rows)

        assert copied == len(rows)
        assert _stored(tables, "ours") == _stored(tables, "theirs")


def test_a_block_too_large_for_arrow_is_sent_in_parts(tables: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(True, i, i, i, i / 3, i / 7, date(2026, 1, 1), None, "text" * i, ["a"] * i) for i in range(50)]
    monkeypatch.setattr(encoding, "BLOCK_BYTES", 1_000)

    with tables.transaction(force_rollback=True):
        blocks = list(encoding.encoded(_batch(rows), COLUMNS))
        copy_rows(tables, sql.Identifier("ours"), COLUMNS, [_batch(rows)])
        _write_rows(tables, rows)

        assert len(blocks) > 10
        assert _stored(tables, "ours") == _stored(tables, "theirs")


def test_no_rows_are_a_copy_too(tables: Connection) -> None:
    with tables.transaction(force_rollback=True):
        assert copy_rows(tables, sql.Identifier("ours"), COLUMNS, []) == 0
        assert copy_rows(tables, sql.Identifier("ours"), COLUMNS, [_batch([]).slice(0, 0)]) == 0


def test_other_widths_and_encodings_of_the_same_values_go_in_too(tables: Connection) -> None:
    texts = pa.array(["a", None, "b\0", "a"])
    columns = {
        "c2": pa.array([1, 2, None, 4], pa.uint8()),
        "c7": pa.array([0, 1, None, 3], pa.timestamp("s", tz="Europe/Prague")),
        "c8": texts.dictionary_encode(),
        "c9": pa.array([["x"], None, [], ["y", None]], pa.large_list(pa.large_string())),
    }

    with tables.transaction(force_rollback=True):
        copy_rows(
            tables,
            sql.Identifier("ours"),
            {name: COLUMNS[name] for name in columns},
            [pa.RecordBatch.from_pydict(columns)],
        )
        stored = tables.execute("SELECT c2, extract(epoch FROM c7)::int, c8, c9 FROM ours ORDER BY row").fetchall()

    assert stored == [(1, 0, "a", ["x"]), (2, 1, None, None), (None, None, "b", []), (4, 3, "a", ["y", None])]


@pytest.mark.parametrize(
    ("kind", "column", "error", "said"),
    [
        ("int2", pa.array([2**15]), pa.ArrowInvalid, "not in range"),
        ("int4", pa.array(["one"]), pa.ArrowInvalid, "one"),
        ("date", pa.array([-(2**31)], pa.int32()).view(pa.date32()), pa.ArrowInvalid, "overflow"),
        ("timestamptz", pa.array([0], pa.timestamp("us")), TypeError, "needs times with a zone"),
        ("numeric", pa.array([1]), TypeError, "columns of the type numeric cannot be copied"),
    ],
)
def test_what_does_not_fit_its_type_is_refused(kind: str, column: pa.Array, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list(encoding.encoded(pa.RecordBatch.from_pydict({"c": column}), {"c": kind}))


def test_a_time_that_postgres_cannot_hold_is_refused_by_it(tables: Connection) -> None:
    last = pa.RecordBatch.from_pydict({"c6": pa.array([2**31 - 1], pa.int32()).view(pa.date32())})

    with pytest.raises(psycopg.errors.DatetimeFieldOverflow), tables.transaction():
        copy_rows(tables, sql.Identifier("ours"), {"c6": "date"}, [last])


def _batch(rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(ARROW)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, ARROW.values(), strict=True)], names=list(COLUMNS)
    )


def _write_rows(conn: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """What psycopg makes of the same rows."""
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    with conn.cursor().copy(sql.SQL("COPY theirs ({}) FROM STDIN (FORMAT BINARY)").format(columns)) as copy:
        copy.set_types(list(COLUMNS.values()))
        for row in rows:
            copy.write_row([_without_nulls(value) for value in row])


def _without_nulls(value: object) -> object:
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def _stored(conn: Connection, table: str) -> list[tuple[object, ...]]:
    """The rows as texts: NaN equals itself there, and every bit of a number is told."""
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in COLUMNS)
    return conn.execute(sql.SQL("SELECT {} FROM {} ORDER BY row").format(texts, sql.Identifier(table))).fetchall()
