"""The hours in which covers are asked for, and the time that asking may take."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from book_search.openlibrary.limits import Budget, BudgetSpentError, OutsideWindowError, Permit, Window
from book_search.settings import load_settings
from book_search_tests.openlibrary.fake_time import FakeTime

BERLIN = ZoneInfo("Europe/Berlin")


def at(hour: int, minute: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "open_at", "closed_at"),
    [
        ("22:00-06:00", [at(22), at(23, 59), at(0), at(5, 59)], [at(6), at(12), at(21, 59)]),
        ("1:30 - 5:00", [at(1, 30), at(4, 59)], [at(1, 29), at(5), at(22)]),
        ("18:00-24:00", [at(18), at(23, 59)], [at(0), at(17, 59)]),
        ("00:00-24:00", [at(0), at(12), at(23, 59)], []),
    ],
)
def test_a_window_is_open_from_its_start_until_before_its_end(
    hours: str, open_at: list[datetime], closed_at: list[datetime]
) -> None:
    window = Window.parse(hours)

    assert all(window.contains(time) for time in open_at)
    assert not any(window.contains(time) for time in closed_at)


def test_a_closed_window_says_when_it_opens() -> None:
    window = Window.parse("22:00-06:00")

    assert window.opens(at(12)) == at(22)
    assert Window.parse("02:00-06:00").opens(at(12)) == at(2, day=11)
    assert window.opens(at(23)) == at(23)
    with pytest.raises(
        OutsideWindowError, match=r"between 22:00 and 06:00 UTC alone; go on after 2026-11-10 22:00 UTC"
    ):
        window.require(at(12))
    window.require(at(23))


def test_a_window_goes_by_its_zones_own_clock_in_summer_and_winter() -> None:
    window = Window.parse("22:00-06:00", "Europe/Berlin")

    assert window.contains(datetime(2026, 7, 1, 20, 30, tzinfo=UTC))
    assert not window.contains(datetime(2026, 12, 1, 20, 30, tzinfo=UTC))
    assert window.opens(datetime(2026, 12, 1, 12, tzinfo=UTC)) == datetime(2026, 12, 1, 22, tzinfo=BERLIN)


def test_it_opens_after_the_night_in_which_clocks_change() -> None:
    window = Window.parse("02:30-06:00", "Europe/Berlin")
    before = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # 01:30; at 02:00 it will be 03:00

    assert not window.contains(before)
    assert window.contains(window.opens(before))
    assert window.opens(before) - before <= timedelta(hours=1)


@pytest.mark.parametrize(
    "hours",
    ["", "22-06", "25:00-06:00", "22:00-06:60", "06:00-06:00", "6:00-06:00", "22:00-24:30", "24:00-06:00", "at night"],
)
def test_what_is_no_window_is_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="no window"):
        Window.parse(hours)
    with pytest.raises(ValidationError, match="off_peak"):  # at once, where a run begins and where `doctor` looks
        load_settings(off_peak=hours or "never")


@pytest.mark.parametrize("hours", ["22:00-06:00", "1:30 - 5:00", " 18:00-24:00 ", "00:00-24:00", "0:00-24:00"])
def test_a_setting_that_is_accepted_is_a_window(hours: str) -> None:
    Window.parse(load_settings(off_peak=hours).off_peak or "")


@pytest.mark.parametrize("zone", ["Middle/Earth", "../../etc/passwd", ""])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Window.parse("22:00-06:00", zone)
    with pytest.raises(ValidationError, match="time_zone"):
        load_settings(time_zone=zone or "nowhere")


def test_a_window_says_how_long_it_stays_open() -> None:
    assert Window.parse("22:00-06:00").left(at(23)) == 7 * 3600
    assert Window.parse("22:00-06:00").left(at(6)) == 0
    assert Window.parse("00:00-24:00").left(at(6)) == math.inf
    autumn = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)  # 01:30 in Berlin, where the night has an hour more
    for same in (autumn, autumn.astimezone(BERLIN)):
        assert Window.parse("22:00-06:00", "Europe/Berlin").left(same) == 5.5 * 3600


def test_a_permit_lasts_as_long_as_the_first_of_its_limits_to_end() -> None:
    closed = Window((datetime.now(UTC) + timedelta(hours=2)).time(), (datetime.now(UTC) + timedelta(hours=3)).time())

    assert Permit().left() == math.inf
    assert Permit(Budget(60, FakeTime().clock)).left() == 60
    assert Permit(Budget(60, FakeTime().clock), closed).left() == 0


def test_a_budget_is_spent_by_time_passing() -> None:
    fake = FakeTime()
    budget = Budget(60, fake.clock)
    budget.require(60)
    fake.now += 50

    budget.require(10)
    with pytest.raises(BudgetSpentError, match="10 s are left and the next request has to wait 11 s"):
        budget.require(11)
    fake.now += 20
    assert budget.left() == 0
    with pytest.raises(BudgetSpentError, match="the 60 s given are over; the next run goes on"):
        budget.require()


def test_a_budget_without_end_is_never_spent() -> None:
    fake = FakeTime()
    budget = Budget(clock=fake.clock)
    fake.now += 1e9

    budget.require(1e9)
    assert budget.left() == math.inf
