"""Verdicts on what an asset made: each passes on good data and fails on bad, and says what the way out is."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from book_search.clip.soundness import VectorsLook
from book_search.defs.build import build_definitions
from book_search.defs.checks import judge_books, judge_dump, judge_found, judge_report, judge_vectors
from book_search.defs.history import Earlier
from book_search.evaluation.usual import Share
from book_search.openlibrary.catalogue import CatalogueRecord
from book_search.openlibrary.dumps import UNPUBLISHED, DumpRecord
from book_search.openlibrary.soundness import BooksLook

NOW = datetime(2026, 11, 8, 3, tzinfo=UTC)
DUMP = DumpRecord("editions", date(2026, 10, 31), "p", 9, "new", "https://x.example/d", NOW, lines=1000, changed=True)
FILTER = {"years": 10, "pages_over": 100}
MADE = CatalogueRecord("p", 100, "h", date(2026, 10, 31), {"filter": FILTER}, {}, {}, pa.table({}))
BOOKS = BooksLook(books=100, doubled=0, without_key=0, years_out=0, pages_out=0)
VECTORS = VectorsLook(pictures=9, vectors=9)

# Which of them stop what comes after, and which only warn.
BLOCKING = {"whole", "not_older", "not_smaller", "keys", "in_range", "vectors", "recall"}
WARNING = {"recent", "usual_number", "found"}


def before(*told: dict[str, Any], partition: str | None = None) -> list[Earlier]:
    return [Earlier(NOW, partition, each) for each in told]


def failed(verdicts: Iterable[dg.AssetCheckResult]) -> set[str | None]:
    return {each.check_name for each in verdicts if not each.passed}


def dump_failed(dump: DumpRecord = DUMP, *told: dict[str, Any], faults: tuple[str, ...] = ()) -> set[str | None]:
    return failed(judge_dump(dump, faults, before(*told), date(2026, 11, 8)))


def month(records: int = 990, day: str = "2026-09-30", sha256: str = "old") -> dict[str, Any]:
    return {"records": records, "dump_date": day, "sha256": sha256}


def test_a_first_dump_and_one_that_grew_are_good() -> None:
    assert dump_failed() == set()
    assert dump_failed(DUMP, month()) == set()


def test_a_dump_whose_file_is_not_as_told_is_not_whole() -> None:
    assert dump_failed(faults=("it has 7 bytes",)) == {"whole"}


def test_a_dump_of_an_earlier_date_than_the_last_is_older() -> None:
    assert dump_failed(DUMP, month(day="2026-11-30")) == {"not_older"}


@pytest.mark.parametrize(("lines", "verdict"), [(900, set()), (899, {"not_smaller"}), (None, set())])
def test_a_dump_that_lost_a_tenth_of_its_records_is_told(lines: int | None, verdict: set[str]) -> None:
    assert dump_failed(replace(DUMP, lines=lines), month(records=1000)) == verdict


def test_a_small_dump_stays_small_when_it_is_looked_at_again() -> None:
    """The materialization that told it first is of the same bytes, and no measure of them."""
    assert dump_failed(DUMP, month(1000, "2026-10-31", "new"), month(5000)) == {"not_smaller"}


def test_what_was_told_before_records_were_counted_is_no_measure() -> None:
    assert dump_failed(DUMP, {"sha256": "old", "dump_date": "2026-09-30"}) == set()


def test_a_dump_of_long_ago_is_told_as_such() -> None:
    assert dump_failed(replace(DUMP, date=date(2026, 9, 1))) == {"recent"}


def test_a_dump_that_is_not_published_is_no_fault() -> None:
    none = replace(DUMP, date=UNPUBLISHED, lines=0)
    assert dump_failed(none, month()) == set()
    assert len(judge_dump(none, [], [], NOW.date())) == 4


def test_a_dump_is_compared_with_the_last_one_that_was_published() -> None:
    none = {"records": 0, "dump_date": "none is published", "sha256": "of nothing"}
    assert dump_failed(DUMP, none) == set()
    assert dump_failed(DUMP, none, month(5000)) == {"not_smaller"}


def test_a_failed_dump_says_the_way_out() -> None:
    verdicts = judge_dump(replace(DUMP, lines=1), [], before(month(day="2027-01-31")), NOW.date())
    told = [each.metadata["way_out"].value for each in verdicts if not each.passed]
    assert len(told) == 2
    assert all("https://x.example/d" in str(each) and "materialize `books` by itself" in str(each) for each in told)


def books_failed(look: BooksLook, *told: dict[str, Any]) -> set[str | None]:
    return failed(judge_books(look, MADE, before(*told)))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, set()),
        ({"books": 0}, {"keys"}),
        ({"doubled": 1}, {"keys"}),
        ({"without_key": 1}, {"keys"}),
        ({"years_out": 1}, {"in_range"}),
        ({"pages_out": 1}, {"in_range"}),
    ],
)
def test_books_are_judged_by_what_was_found_of_them(changes: dict[str, Any], verdict: set[str]) -> None:
    assert books_failed(replace(BOOKS, **changes)) == verdict


@pytest.mark.parametrize(("books", "verdict"), [(121, {"usual_number"}), (79, {"usual_number"}), (80, set())])
def test_a_number_of_books_that_is_not_the_usual_one_is_told(books: int, verdict: set[str]) -> None:
    last = {"dagster/row_count": 100, "filter": FILTER}
    assert books_failed(replace(BOOKS, books=books), last, last) == verdict


def test_books_of_another_filter_say_nothing_of_the_usual_number() -> None:
    assert books_failed(BOOKS, {"dagster/row_count": 9_000, "filter": FILTER | {"years": None}}) == set()


def ranges(share: float, of: int = 1000, key: str = "0014_6") -> list[Earlier]:
    return before({"covers": of, "status_ok": int(share * of)}, partition=key)


@pytest.mark.parametrize(
    ("now", "earlier", "passed"),
    [
        (Share(950, 1000), [], True),
        (Share(650, 1000), [], False),  # under the floor
        (Share(880, 1000), ranges(0.95), False),  # fell against its own past
        (Share(930, 1000), ranges(0.95), True),
        (Share(880, 1000), ranges(0.95, key="0009_9"), False),  # new, and worse than the others
        (Share(880, 1000), ranges(0.89) + ranges(0.99, key="0009_9"), True),  # its own past counts, not the others'
        (Share(880, 1000), ranges(0.89) + ranges(0.99), True),  # and of that the newest
        (Share(0, 0), ranges(0.95), True),
    ],
)
def test_the_share_of_covers_found_is_compared_with_the_usual(now: Share, earlier: list[Earlier], passed: bool) -> None:
    assert judge_found({"0014_6": now}, earlier).passed == passed


def test_the_range_that_fell_is_named() -> None:
    now = {"0014_6": Share(600, 1000), "0014_7": Share(950, 1000)}
    verdict = judge_found(now, ranges(0.95) + ranges(0.95, key="0014_7"))
    assert verdict.metadata["fell"].value == "0014_6"


def test_vectors_of_a_sound_range_pass_and_a_bad_range_is_named() -> None:
    assert judge_vectors({"0014_6": VECTORS}).passed
    verdict = judge_vectors({"0014_6": VECTORS, "0014_7": replace(VECTORS, not_unit=2, such_as=7)})
    assert not verdict.passed
    assert (verdict.metadata["bad_ranges"].value, verdict.metadata["not_unit"].value) == ("0014_7", 2)
    assert verdict.metadata["vectors"].value == 18


def report(value: float, low: float, model: str = "clip") -> dict[str, Any]:
    return {"model": model, "measures": [{"name": "known_title_at_10", "value": value, "low": low}]}


@pytest.mark.parametrize(
    ("last", "passed"),
    [
        ([], True),
        ([report(0.9, 0.79)], True),
        ([report(0.9, 0.81)], False),
        ([report(0.9, 0.81, model="other")], True),
        ([report(0.9, 0.81, model="other"), report(0.9, 0.81)], False),  # the last one of the same model
    ],
)
def test_a_report_is_worse_once_it_is_under_the_last_ones_interval(last: list[dict[str, Any]], passed: bool) -> None:
    assert judge_report(report(0.8, 0.7), before(*({"figures": each} for each in last))).passed == passed


def test_dumps_and_index_are_expected_every_month() -> None:
    specs = build_definitions().resolve_all_asset_specs()
    watched = {spec.key.to_user_string() for spec in specs if spec.freshness_policy is not None}
    assert watched == {"edition_dump", "work_dump", "author_dump", "redirect_dump", "search_index"}


def test_bad_data_is_stopped_and_what_is_only_unusual_is_not() -> None:
    specs = [spec for asset in build_definitions().resolve_asset_graph().assets_defs for spec in asset.check_specs]
    blocking = {spec.name for spec in specs if spec.blocking}
    assert blocking == BLOCKING
    verdicts = [
        *judge_dump(replace(DUMP, date=date(2020, 1, 1)), [], [], NOW.date()),
        *judge_books(BOOKS, MADE, []),
        judge_found({}, []),
    ]
    assert {each.check_name for each in verdicts if each.severity == dg.AssetCheckSeverity.WARN} == WARNING
