"""Which ranges have work to do: by files that changed, books that changed, and covers that were never asked for."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from book_search.cover_ranges import CoverRange, batch_key
from book_search.lake import PARTIAL, Lake
from book_search.openlibrary.cover_batch import CoverFile
from book_search.openlibrary.ledger import LedgerRow
from book_search.openlibrary.needs import Need, is_due, look_at, need_of, state_of

NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
RANGE = CoverRange.parse("0014_6")
FIRST = RANGE.first
MADE = ("embeddings/model/0014_6", "tags/model/0014_6")


def _settle(lake: Lake, cover_id: int, next_try: datetime | None) -> None:
    row = LedgerRow(cover_id, "gave_up", None, 1, next_try, None, None, None, None, "", NOW)
    with CoverFile.open(lake, batch_key(cover_id)) as file:
        file.put(row, None)


def _state(lake: Lake, wanted: tuple[int, ...] = (FIRST,), by: str = "a model") -> str:
    return state_of(lake, RANGE, wanted, MADE, by)


def test_the_state_is_another_whenever_anything_that_it_stands_for_is(any_lake: Lake) -> None:
    states = [_state(any_lake), _state(any_lake, (FIRST, FIRST + 1)), _state(any_lake, by="another model")]
    for path in (f"covers/{RANGE.key}/0014_60.parquet", f"{MADE[0]}/0014_60.parquet", f"{MADE[1]}/0014_60.parquet"):
        any_lake.write_bytes(path, b"some")
        states.append(_state(any_lake))
    any_lake.write_bytes(f"{MADE[0]}/0014_60.parquet", b"other bytes")
    states.append(_state(any_lake))
    any_lake.delete(f"{MADE[1]}/0014_60.parquet")
    states.append(_state(any_lake))

    assert all(one != another for one, another in pairwise(states))
    assert states[-1] == _state(any_lake)


def test_a_file_written_again_with_as_many_bytes_is_another(lake: Lake) -> None:
    lake.write_bytes(f"{MADE[0]}/0014_60.parquet", b"same")
    before = _state(lake)
    lake.write_bytes(f"{MADE[0]}/0014_60.parquet", b"size")
    assert _state(lake) != before


def test_files_of_other_ranges_and_files_under_way_change_no_state(lake: Lake) -> None:
    before = _state(lake)
    lake.write_bytes("covers/0014_7/0014_70.parquet", b"of another range")
    lake.write_bytes(f"covers/{RANGE.key}/{PARTIAL}x-0014_60.parquet", b"of a killed writer")
    assert _state(lake) == before


def test_a_range_needs_a_run_while_covers_were_never_asked_for_or_what_is_there_is_not_loaded(lake: Lake) -> None:
    def need(loaded: str | None) -> Need | None:
        return need_of(lake, RANGE, (FIRST, FIRST + 1), MADE, "a model", loaded, NOW)

    _settle(lake, FIRST, None)
    state = _state(lake, (FIRST, FIRST + 1))
    assert need(state) == need(None) == Need(RANGE, state, asks=True)

    _settle(lake, FIRST + 1, NOW - timedelta(hours=1))
    state = _state(lake, (FIRST, FIRST + 1))
    assert need("another") == Need(RANGE, state, asks=False)
    assert need(state) is None


def test_covers_that_failed_are_due_once_their_time_has_come(lake: Lake) -> None:
    _settle(lake, FIRST, NOW + timedelta(hours=1))

    assert not is_due(lake, RANGE, [FIRST, FIRST + 1], NOW)
    assert is_due(lake, RANGE, [FIRST, FIRST + 1], NOW + timedelta(hours=2))


def test_a_look_ends_when_its_time_is_over_and_says_how_far_it_came() -> None:
    ranges = [CoverRange(number) for number in range(100)]

    def odd(each: CoverRange) -> int | None:
        return each.number if each.number % 2 else None

    hasty, thorough, none = look_at(ranges, odd, 0), look_at(ranges, odd, 60), look_at([], odd, 60)

    assert (hasty.seen, hasty.found) == (tuple(ranges[:8]), (1, 3, 5, 7))
    assert (thorough.seen, len(thorough.found)) == (tuple(ranges), 50)
    assert (none.seen, none.found) == ((), ())
