"""Progress lines: rarely, with a rate and the time left."""

import logging

import pytest

from book_search.progress import ProgressLog


def test_a_line_comes_every_few_seconds_with_rate_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "book_search")
    now = 0.0
    progress = ProgressLog("covers 0014_6", "covers", every=5, clock=lambda: now)

    for second in range(11):
        now = float(second)
        progress(second * 20, 400)

    assert caplog.messages == [
        "covers 0014_6: 100 of 400 covers, 20 a second, 15 s left",
        "covers 0014_6: 200 of 400 covers, 20 a second, 10 s left",
    ]


def test_what_an_earlier_run_had_done_does_not_count_into_the_rate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "book_search")
    now = 0.0
    progress = ProgressLog("editions dump", "bytes", every=5, clock=lambda: now)
    progress(900_000_000, 1_000_000_000)
    now = 10.0
    progress(950_000_000, 1_000_000_000)
    assert caplog.messages == ["editions dump: 950 of 1,000 MB, 5.0 a second, 10 s left"]
