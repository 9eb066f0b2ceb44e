"""Which road is chosen, from numbers alone; where the archive keeps what; and the plan that adds the numbers up."""

import itertools
import random
from array import array
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book_search.openlibrary.archive import archive_zip, has_zip
from book_search.openlibrary.ledger import LedgerRow, Status, next_try
from book_search.openlibrary.metadata_dump import KnownCovers
from book_search.openlibrary.plan import plan_covers
from book_search.openlibrary.roads import MEAN_BYTES, RoadRule, RoadWanted, choose_road
from book_search.openlibrary.zip_segments import LONGEST_SEGMENT, segments

RULE = RoadRule("https://archive.org")
BATCH, FIRST = "0014_62", 14_620_000
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def some(count: int, first: int = FIRST) -> list[int]:
    return sorted(random.Random(1).sample(range(first, first + 10_000), count))


def row(cover_id: int, status: Status) -> LedgerRow:
    return LedgerRow(cover_id, status, 200, 1, next_try(status, NOW), 9, 9, 9, "ab", "https://x", NOW)


@pytest.mark.parametrize(
    ("batch", "size", "cover_id", "address"),
    [
        ("0014_62", "L", 14_620_000, "l_covers_0014/l_covers_0014_62.zip/0014620000-L.jpg"),
        ("0008_00", "M", 8_000_001, "m_covers_0008/m_covers_0008_00.zip/0008000001-M.jpg"),
        ("0006_60", "L", 6_600_000, "olcovers660/olcovers660-L.zip/6600000-L.jpg"),
        ("0007_13", "S", 7_139_999, "olcovers713/olcovers713-S.zip/7139999-S.jpg"),
        ("0007_14", "S", 7_140_000, "s_covers_0007/s_covers_0007_14.zip/0007140000-S.jpg"),
        ("0000_00", "L", 12, "olcovers0/olcovers0-L.zip/12-L.jpg"),
    ],
)
def test_a_cover_lies_where_open_librarys_own_code_puts_it(batch: str, size: str, cover_id: int, address: str) -> None:
    assert (
        archive_zip("https://archive.org/", batch, size).member_url(cover_id)
        == f"https://archive.org/download/{address}"
    )


def test_batches_that_were_never_uploaded_are_known() -> None:
    batches = [f"{number // 100:04d}_{number % 100:02d}" for number in range(1600)]
    assert [key for key in batches if not has_zip(key)] == batches[600:800] + batches[1500:]


def test_few_covers_of_a_batch_are_asked_for_by_id() -> None:
    choice = choose_road(RULE, BATCH, some(2000), "L")

    assert choice.road == "by_id"
    assert "20.0% of the batch is asked for, no more than 20%" in choice.why
    assert choice.requests == 4000  # each of the covers server, and of the archive that it redirects to
    assert choice.seconds == pytest.approx(2000 * 0.6 + 2000 * 36_000 / 2.5e6)


def test_many_covers_scattered_over_a_batch_are_read_from_the_whole_zip() -> None:
    choice = choose_road(RULE, BATCH, some(2001), "L")

    assert (choice.road, choice.requests, choice.bytes) == ("bulk_whole", 2, 360_000_000)
    assert "by_id" in choice.why
    assert "bulk_members" in choice.why


def test_many_covers_side_by_side_are_read_as_members() -> None:
    choice = choose_road(RULE, BATCH, range(FIRST + 5000, FIRST + 7500), "L")

    assert choice.road == "bulk_members"
    assert choice.requests < 20
    assert choice.bytes == 2500 * MEAN_BYTES["L"] + (1 << 20)


def test_what_is_here_already_is_never_read_with_a_whole_zip() -> None:
    asked = some(4000)
    here = set(range(FIRST, FIRST + 10_000)).difference(asked)

    assert choose_road(RULE, BATCH, asked, "L").road == "bulk_whole"
    assert choose_road(RULE, BATCH, asked, "L", here).road != "bulk_whole"


def test_a_slow_line_prefers_fewer_bytes_and_a_slow_pace_fewer_requests() -> None:
    clusters = [FIRST + cluster * 1000 + each for cluster in range(10) for each in range(250)]
    slow_line = RoadRule("https://archive.org", requests_per_minute=400, bandwidth=250_000)
    slow_pace = RoadRule("https://archive.org", requests_per_minute=1)

    assert choose_road(slow_line, BATCH, clusters, "L").road == "bulk_members"
    assert choose_road(slow_pace, BATCH, clusters, "L").road == "bulk_whole"


@pytest.mark.parametrize("first", [6_000_000, 7_990_000, 15_000_000])
def test_what_the_archive_lacks_is_asked_for_by_id_unless_forced(first: int) -> None:
    batch = f"{first // 1_000_000:04d}_{first // 10_000 % 100:02d}"
    forced = RoadRule("https://archive.org", road="bulk_members")

    assert choose_road(RULE, batch, range(first, first + 10_000), "L").road == "by_id"
    assert choose_road(forced, batch, [first], "L").road == "bulk_members"


@pytest.mark.parametrize("road", ["bulk_whole", "bulk_members"])
def test_a_forced_road_to_a_zip_that_is_not_there_costs_as_much_as_by_id_and_a_request(road: RoadWanted) -> None:
    asked = range(15_000_000, 15_003_000)

    plan = plan_covers(asked, {}, RoadRule("https://archive.org", road=road), "L", NOW)

    assert (plan.chosen.requests, plan.chosen.bytes) == (3001, plan.by("by_id").bytes)


@pytest.mark.parametrize("road", ["by_id", "bulk_whole", "bulk_members"])
def test_a_road_can_be_forced_whatever_it_costs(road: str) -> None:
    rule = RoadRule("https://archive.org", road=road)  # type: ignore[arg-type]
    for asked in (some(1), some(9000)):
        choice = choose_road(rule, BATCH, asked, "L", {FIRST + 9999})
        assert (choice.road, choice.why) == (road, "BOOK_SEARCH_COVERS_ROAD says so")


@given(
    spans=st.lists(st.tuples(st.integers(0, 50_000), st.integers(1, 9 << 20)), max_size=40),
    held=st.lists(st.integers(0, 1 << 27), max_size=5),
    gap=st.integers(0, 1 << 20),
)
def test_segments_cover_each_member_once_and_read_no_gap_too_large(
    spans: list[tuple[int, int]], held: list[int], gap: int
) -> None:
    at, placed = 0, []
    for number, (before, length) in enumerate(spans):
        placed.append((number, at + before, at + before + length))
        at += before + length
    inside = [h for h in sorted(held) if not any(start <= h < end for _, start, end in placed)]

    parts = segments(placed, inside, gap)

    assert [each for part in parts for each in part.cover_ids] == [number for number, _, _ in placed]
    for part in parts:
        within = [(start, end) for number, start, end in placed if number in part.cover_ids]
        assert (part.start, part.end) == (within[0][0], within[-1][1])
        assert all(later[0] - earlier[1] <= gap for earlier, later in itertools.pairwise(within))
        assert len(within) == 1 or part.end - part.start <= LONGEST_SEGMENT
        assert not [h for h in inside if part.start <= h < part.end]


def test_seventy_thousand_covers_take_half_a_day_by_id_and_more_in_bulk() -> None:
    wanted = random.Random(7).sample(range(8_000_000, 15_000_000), 70_000)

    plan = plan_covers(wanted, {}, RULE, "L", NOW)

    assert (plan.wanted, plan.settled, plan.left, len(plan.batches)) == (70_000, 0, 70_000, 700)
    assert plan.roads == {"by_id": 700}
    assert plan.chosen == plan.by("by_id")
    assert plan.chosen.seconds / 3600 == pytest.approx(11.9, abs=0.1)
    assert plan.chosen.bytes == 70_000 * 36_000
    assert plan.by("bulk_whole").requests == 1400
    assert plan.by("bulk_whole").bytes == 700 * 360_000_000
    assert sum(each.left for each in plan.by_range().values()) == 70_000


def test_the_plan_counts_what_the_ledger_and_the_dump_settle() -> None:
    statuses: list[Status] = ["ok", "missing", "gave_up", "placeholder"]
    ledger = {FIRST + number: row(FIRST + number, status) for number, status in enumerate(statuses)}
    wanted = range(FIRST, FIRST + 10)
    known = KnownCovers("file:///dump", array("q", [FIRST + 7, FIRST + 8]), {FIRST + 4: (1, 1)})

    plan = plan_covers(wanted, ledger, RULE, "L", NOW, known=known)
    later = plan_covers(wanted, ledger, RULE, "L", NOW + timedelta(hours=2))
    again = plan_covers(wanted, ledger, RULE, "L", NOW, retry_statuses=("placeholder",), known=known)

    assert (plan.settled, plan.by_dump, plan.left) == (4, 3, 3)  # 4 is tiny, 7 and 8 are absent, 9 is newer
    assert (later.settled, later.by_dump, later.left) == (3, 0, 7)
    assert (again.settled, again.by_dump, again.left) == (3, 3, 4)
    assert plan_covers(wanted[:2], ledger, RULE, "L", NOW).chosen.requests == 0
