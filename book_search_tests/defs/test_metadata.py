"""Metadata are told in forms that Dagster's pages show, and that work where they are pasted."""

from datetime import date

import dagster as dg
import pyarrow as pa
import pytest

from book_search import schemas
from book_search.cover_ranges import CoverRange
from book_search.defs.metadata import columns, funnel_table, ledger_table, picture, psql, rate, table

RULES = [("editions in dump", 10, 8), ("has a title", 8, 2)]


def rows(shown: dg.TableMetadataValue) -> list[dict[str, object]]:
    return [dict(record.data) for record in shown.records]


def test_the_funnel_says_what_each_rule_dropped_and_what_was_left_of_the_dump() -> None:
    funnel = pa.Table.from_pylist(
        [
            {"dump_date": date(2026, 10, 31), "position": place, "rule": rule, "rows_in": before, "rows_out": after}
            for place, (rule, before, after) in enumerate(RULES)
        ],
        schema=schemas.FUNNEL,
    )
    assert rows(funnel_table(funnel)) == [
        {"rule": "editions in dump", "rows_in": 10, "rows_out": 8, "dropped": 2, "left_of_dump": 0.8},
        {"rule": "has a title", "rows_in": 8, "rows_out": 2, "dropped": 6, "left_of_dump": 0.2},
    ]
    assert rows(funnel_table(schemas.FUNNEL.empty_table())) == []


def test_the_ledger_is_told_by_status_the_commonest_first_with_shares() -> None:
    assert rows(ledger_table({"missing": 1, "ok": 3})) == [
        {"status": "ok", "covers": 3, "share": 0.75},
        {"status": "missing", "covers": 1, "share": 0.25},
    ]
    assert rows(ledger_table({})) == []


def test_numbers_stay_numbers_in_a_table_and_the_rest_becomes_text() -> None:
    shown = table(pa.table({"n": [1], "x": [0.5], "day": [date(2026, 1, 2)], "none": pa.array([None], pa.string())}))
    assert rows(shown) == [{"n": 1, "x": 0.5, "day": "2026-01-02", "none": None}]
    assert [column.type for column in shown.schema.columns] == ["int", "float", "string", "string"]


@pytest.mark.parametrize(
    "schema",
    [schemas.BOOKS, schemas.COVERS, schemas.TAGS, schemas.embeddings(512)],
    ids=["books", "covers", "tags", ""],
)
def test_every_column_of_the_lakes_files_is_described(schema: pa.Schema) -> None:
    shown = columns(schema).columns
    assert [column.name for column in shown] == schema.names
    assert [column.name for column in shown if not column.description] == []
    assert [column.constraints.nullable for column in shown] == [field.nullable for field in schema]


def test_a_psql_command_names_the_covers_of_its_range() -> None:
    shown = psql("select 1 from cover where IN_RANGE", CoverRange.parse("0014_6"))
    assert shown.value == ('`book-search psql -c "select 1 from cover where cover_id between 14600000 and 14699999"`')


@pytest.mark.parametrize("query", ['select "a"', "select $1", "select `x`", "select 1\nfrom book", "select '!'"])
def test_a_command_that_a_shell_would_read_otherwise_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="cannot be pasted"):
        psql(query)


def test_a_picture_is_shown_in_place_with_words_for_those_who_cannot_see_it() -> None:
    assert str(picture("<svg/>", "a plot").value).startswith("![a plot](data:image/svg+xml;base64,")


def test_nothing_done_is_done_at_no_rate() -> None:
    assert rate(0, 2.0) == 0.0
    assert rate(3, 0.0) == 0.0
    assert rate(3, 2.0) == 1.5
