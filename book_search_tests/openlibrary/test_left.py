"""What is left to be asked for, told from the files' columns: the same as sorting out their rows."""

import random
from datetime import UTC, datetime, timedelta

from book_search.lake import Lake
from book_search.openlibrary.cover_batch import CoverFile
from book_search.openlibrary.due import sort_out
from book_search.openlibrary.ledger import STATUSES, LedgerRow
from book_search.openlibrary.left import Left, left_of
from book_search_tests.openlibrary.test_covers import BATCH, FIRST, RANGE

NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def row(cover_id: int, rng: random.Random) -> LedgerRow:
    status = rng.choice([each for each in STATUSES if each != "ok"])
    waits = rng.choice([None, 0 * HOUR, -1 * HOUR, 2 * HOUR, 200 * HOUR])
    next_try = None if waits is None else NOW + waits
    return LedgerRow(cover_id, status, 404, 1, next_try, None, None, None, None, "", NOW)


def test_what_is_left_is_what_is_due_by_the_ledgers_rule(lake: Lake) -> None:
    rng = random.Random(4)
    wanted = list(range(FIRST, FIRST + 300))
    with CoverFile.open(lake, BATCH) as file:
        for cover_id in [*rng.sample(wanted, 200), FIRST + 5000]:  # the last of which nobody wants any more
            file.put(row(cover_id, rng), None)
        rows = dict(file.rows)

    left = left_of(lake, RANGE, wanted, NOW)

    tries = [rows[each].next_try or NOW for each in wanted if each in rows]
    assert left == Left(len(sort_out(wanted, rows, NOW).asked), sum(each > NOW for each in tries), NOW + 2 * HOUR, 100)


def test_of_a_range_that_nobody_asked_about_all_is_left(lake: Lake) -> None:
    assert left_of(lake, RANGE, [FIRST, FIRST + 1], NOW) == Left(2, 0, None, 2)
    assert left_of(lake, RANGE, [], NOW) == Left()


def test_several_ranges_are_left_together() -> None:
    first, last = NOW + HOUR, NOW + 24 * HOUR
    assert Left.of([Left(2, 1, last, 2), Left(), Left(1, 2, first)]) == Left(3, 3, first, 2)
    assert Left.of([]) == Left()
