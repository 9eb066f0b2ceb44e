"""Cover ids, ranges and batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book_search.cover_ranges import CoverRange, batch_key, ranges_of


def test_a_range_is_a_hundred_thousand_ids() -> None:
    cover_range = CoverRange.parse("0014_6")
    assert (cover_range.first, cover_range.end) == (14_600_000, 14_700_000)


@given(st.integers(min_value=1, max_value=99_999_999))
def test_every_id_lies_in_the_range_and_the_batch_that_bear_its_digits(cover_id: int) -> None:
    cover_range = CoverRange.of(cover_id)
    assert cover_range.first <= cover_id < cover_range.end
    assert CoverRange.parse(cover_range.key) == cover_range
    assert batch_key(cover_id).startswith(cover_range.key)
    assert int(batch_key(cover_id).replace("_", "")) == cover_id // 10_000


def test_the_ranges_of_some_ids_come_once_and_in_order() -> None:
    assert [r.key for r in ranges_of([14_600_000, 9_999_999, 14_699_999])] == ["0009_9", "0014_6"]


@pytest.mark.parametrize("key", ["14_6", "0014", "0014_66", "0014-6", "aaaa_6", ""])
def test_what_is_no_range_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="looks like 0014_6"):
        CoverRange.parse(key)
