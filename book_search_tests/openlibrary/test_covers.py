"""Fetching covers for real over HTTP: each asked for once, judged, kept whole, whatever happens on the way."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
from PIL import Image, ImageDraw

from book_search import schemas
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search.openlibrary.breaker import Breaker
from book_search.openlibrary.cover_batch import SAVE_EVERY
from book_search.openlibrary.cover_parts import read_stored
from book_search.openlibrary.covers import (
    Fetching,
    FetchReport,
    Limits,
    covers_path,
    fetch_batch,
    fetch_range,
    forget_range,
    iter_images,
    read_ledger,
)
from book_search.openlibrary.http import PoliteClient, user_agent
from book_search.openlibrary.limits import Window
from book_search.sample.server import BLANK, Content, Faults, SampleServer

RANGE, BATCH = CoverRange.parse("0014_6"), "0014_62"
FIRST = 14_620_000
WANTED_40 = range(FIRST, FIRST + 40)


def jpeg(seed: int, format_name: str = "JPEG") -> bytes:
    rng = random.Random(seed)
    picture = Image.new("RGB", (60, 90), tuple(rng.choices(range(256), k=3)))
    ImageDraw.Draw(picture).ellipse((10, 10, 50, 20 + seed % 60), fill=tuple(rng.choices(range(256), k=3)))
    file = io.BytesIO()
    picture.save(file, format_name)
    return file.getvalue()


@contextmanager
def serving(
    covers: Mapping[int, bytes | int], faults: Faults | None = None, archived: frozenset[int] = frozenset()
) -> Iterator[SampleServer]:
    with SampleServer(Content(date(2026, 10, 31), {}, covers, archived), faults or Faults()) as server:
        yield server


def fetch(
    lake: Lake,
    server: SampleServer,
    wanted: list[int],
    rate: float = 60_000,
    save_every: int = SAVE_EVERY,
    **options: object,
) -> FetchReport:
    with PoliteClient(user_agent(None), server.url, requests_per_minute=rate, backoff=0.01) as client:
        return fetch_batch(lake, BATCH, wanted, Fetching(client, server.url, "M", **options), save_every=save_every)  # type: ignore[arg-type]


def ledger(lake: Lake) -> dict[int, dict[str, object]]:
    return {row["cover_id"]: row for row in read_ledger(lake, RANGE).to_pylist()}


def test_every_answer_gets_its_exact_status(lake: Lake) -> None:
    truncated = jpeg(7)[:-200]
    answers: dict[int, bytes | int] = {
        0: jpeg(0),
        1: jpeg(1, "PNG"),
        2: jpeg(2, "GIF"),
        3: jpeg(3, "WEBP"),
        4: 404,
        5: 410,
        6: b"<html><body>not now</body></html>",
        7: truncated,
        8: b"",
        9: BLANK,
        10: 403,
        11: 400,
        12: 503,
    }
    with serving({FIRST + number: answer for number, answer in answers.items()}) as server:
        report = fetch(lake, server, [FIRST + number for number in answers])
        asked = Counter(each.path for each in server.asked)

    found = ledger(lake)
    statuses = [found[FIRST + number]["status"] for number in answers]
    assert statuses == [
        *["ok"] * 4,
        *["missing"] * 2,
        "not_an_image",
        "undecodable",
        "not_an_image",
        "placeholder",
        *["gave_up"] * 3,
    ]
    assert report.statuses == {
        "ok": 4,
        "missing": 2,
        "not_an_image": 2,
        "placeholder": 1,
        "undecodable": 1,
        "gave_up": 3,
    }
    assert [found[FIRST + number]["http_status"] for number in (4, 5, 10, 11, 12)] == [404, 410, 403, 400, 503]
    assert {path: times for path, times in asked.items() if times > 1} == {f"/b/id/{FIRST + 12}-M.jpg": 5}
    row = found[FIRST]
    assert (row["width"], row["height"], row["bytes"], row["attempts"]) == (60, 90, len(jpeg(0)), 1)


def test_a_cover_is_asked_for_by_id_and_without_a_blank_in_its_place(lake: Lake) -> None:
    with serving({}) as server:
        fetch(lake, server, [FIRST])

        assert [each.path for each in server.asked] == [f"/b/id/{FIRST}-M.jpg"]
        assert ledger(lake)[FIRST]["source_url"] == f"{server.url}/b/id/{FIRST}-M.jpg?default=false"
        assert ledger(lake)[FIRST]["status"] == "missing"


def test_a_second_run_asks_for_nothing_and_writes_nothing(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST + number: jpeg(number) for number in range(30)} | {FIRST: 404}
    with serving(covers) as server:
        fetch(lake, server, list(covers))
        written = os.stat(lake.uri(covers_path(BATCH))).st_mtime_ns
        server.forget()

        report = fetch(lake, server, list(covers))

        assert server.asked == ()
    assert (report.asked, report.settled, report.files_written) == (0, 30, 0)
    assert report.statuses == {"ok": 29, "missing": 1}
    assert os.stat(lake.uri(covers_path(BATCH))).st_mtime_ns == written


def test_a_redirect_to_the_archive_is_followed_and_remembered(lake: Lake) -> None:
    with serving({FIRST: jpeg(1)}, archived=frozenset({FIRST})) as server:
        fetch(lake, server, [FIRST])

        assert server.counts() == {200: 1, 302: 1}
        assert ledger(lake)[FIRST]["source_url"] == (
            f"{server.url}/download/m_covers_0014/m_covers_0014_62.zip/0014620000-M.jpg"
        )


def test_a_redirect_to_another_host_is_a_status_and_no_error(lake: Lake) -> None:
    from book_search_tests.openlibrary.scripted_server import Answer, scripted_server

    with scripted_server() as server:
        server.script[f"/b/id/{FIRST}-M.jpg?default=false"] = [
            Answer(302, headers={"Location": "https://example.com/"})
        ]
        with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000) as client:
            fetch_batch(lake, BATCH, [FIRST], Fetching(client, server.url, "M"))

    row = ledger(lake)[FIRST]
    assert (row["status"], row["http_status"], row["source_url"]) == ("blocked_host", 302, "https://example.com/")


def test_a_picture_beyond_the_cap_is_too_large(lake: Lake) -> None:
    with serving({FIRST: jpeg(1)}) as server:
        with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000, max_bytes=500) as client:
            fetch_batch(lake, BATCH, [FIRST], Fetching(client, server.url, "M"))

        assert ledger(lake)[FIRST]["status"] == "too_large"
        assert len(server.asked) == 1


def test_identical_pictures_are_kept_once(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST + number: jpeg(number % 5) for number in range(30)}
    with serving(covers) as server:
        report = fetch(lake, server, list(covers))

    table = lake.read_table(covers_path(BATCH))
    assert table.schema.equals(schemas.COVERS)
    assert table["cover_id"].to_pylist() == sorted(covers)
    assert [image for image in table["image"].to_pylist() if image] == [jpeg(number) for number in range(5)]
    assert report.pictures == 5
    assert {image.image for image in iter_images(lake, RANGE)} == {jpeg(number) for number in range(5)}
    assert len(list(iter_images(lake, RANGE))) == 5


def test_a_cover_that_nobody_wants_any_more_loses_its_row_and_its_picture(lake: Lake) -> None:
    shared = jpeg(1)
    with serving({FIRST: shared, FIRST + 1: shared, FIRST + 2: jpeg(2)}) as server:
        fetch(lake, server, [FIRST, FIRST + 1, FIRST + 2])
        server.forget()

        report = fetch(lake, server, [FIRST + 1])

        assert server.asked == ()
    assert (report.dropped, report.pictures) == (2, 1)
    table = lake.read_table(covers_path(BATCH))
    assert table["cover_id"].to_pylist() == [FIRST + 1]
    assert table["image"].to_pylist() == [shared]


def test_failures_are_asked_again_when_their_time_has_come(lake: Lake) -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    covers: dict[int, bytes | int] = {FIRST: 404, FIRST + 1: 503, FIRST + 2: jpeg(2)}
    with serving(covers) as server:
        fetch(lake, server, list(covers), now=lambda: now)
        covers |= {FIRST: jpeg(0), FIRST + 1: jpeg(1)}
        asked = []
        for later in (timedelta(minutes=59), timedelta(hours=1), timedelta(days=29), timedelta(days=30)):
            server.forget()
            fetch(lake, server, list(covers), now=lambda later=later: now + later)
            asked.append([each.path for each in server.asked])

    assert asked == [[], [f"/b/id/{FIRST + 1}-M.jpg"], [], [f"/b/id/{FIRST}-M.jpg"]]
    assert {row["status"] for row in ledger(lake).values()} == {"ok"}
    assert ledger(lake)[FIRST + 1]["attempts"] == 6


def test_failures_can_be_asked_again_by_status(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST: BLANK, FIRST + 1: 404, FIRST + 2: jpeg(2)}
    with serving(covers) as server:
        fetch(lake, server, list(covers))
        server.forget()
        covers[FIRST] = jpeg(0)

        report = fetch(lake, server, list(covers), retry_statuses=("placeholder",))

        assert [each.path for each in server.asked] == [f"/b/id/{FIRST}-M.jpg"]
    assert report.statuses == {"ok": 2, "missing": 1}


def test_a_picture_that_is_here_is_not_given_up_for_a_failed_try(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST: jpeg(1)}
    with serving(covers) as server:
        fetch(lake, server, [FIRST])
        covers[FIRST] = 503

        fetch(lake, server, [FIRST], retry_statuses=("ok",))

        assert len(server.asked) == 6
    assert ledger(lake)[FIRST]["status"] == "ok"


def test_the_pace_is_kept_as_the_server_sees_it(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST + number: jpeg(number) for number in range(25)}
    with serving(covers) as server:
        report = fetch(lake, server, list(covers), rate=1200)

        assert server.busiest(0.5) <= 10 + 4  # 20 a second, and some lateness of a busy machine
        assert {each.user_agent for each in server.asked} == {user_agent(None)}
    assert report.waited > 0.5


@pytest.mark.parametrize("retry_date", [False, True])
def test_refusals_and_broken_answers_end_in_the_same_ledger(lake: Lake, retry_date: bool) -> None:
    covers: dict[int, bytes | int] = {FIRST + number: jpeg(number) for number in range(60)}
    faults = Faults(seed=5, throttled=0.02, unavailable=0.1, broken=0.1, retry_after=1, retry_date=retry_date)
    with serving(covers, faults) as server:
        report = fetch(lake, server, list(covers))
        asked = server.asked

    assert report.statuses == {"ok": 60}
    refusals = [each.at for each in asked if each.status == 429]
    assert refusals
    assert {200, 429, 503} == {each.status for each in asked}
    if not retry_date:  # a date counts in whole seconds, so that less than one may be left of it
        for refused in refusals:
            assert [each for each in asked if refused + 0.3 < each.at < refused + 0.99] == []


def test_a_host_that_asks_for_a_long_pause_gets_it_and_nothing_is_lost(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST + number: jpeg(number) for number in range(40)}
    with serving(covers) as server:
        fetch(lake, server, list(covers)[:20])
        server.forget()
        server.faults = Faults(seed=1, throttled=1.0, retry_after=3600)

        report = fetch(lake, server, list(covers))

        assert len(server.asked) <= 4  # what the threads had under way
        server.forget()
    assert report.left == {f"{server.url.removeprefix('http://')} is not asked, because it asks to be left alone": 20}
    assert "is not asked for 3,600 s" in report.paused[0]
    assert sorted(ledger(lake)) == list(covers)[:20]


def test_a_host_that_never_answers_ends_the_batch(lake: Lake) -> None:
    with serving({}) as server:
        url = server.url
    with (
        PoliteClient(
            user_agent(None),
            url,
            requests_per_minute=60_000,
            backoff=0.001,
            attempts=2,
            breaker=Breaker(streak=20, openings=1),
        ) as client,
    ):
        report = fetch_batch(lake, BATCH, range(FIRST, FIRST + 1000), Fetching(client, url, "M"))

    assert len(ledger(lake)) < 40
    assert sum(report.left.values()) == 1000 - len(ledger(lake))
    assert "times in a row" in report.paused[0]


def test_when_its_time_is_over_a_batch_ends_with_what_it_has_and_the_next_run_goes_on(lake: Lake) -> None:
    with serving({FIRST + number: jpeg(number) for number in range(40)}) as server:
        with PoliteClient(user_agent(None), server.url, requests_per_minute=1200) as client:
            cut = fetch_batch(lake, BATCH, WANTED_40, Fetching(client, server.url, "M", limits=Limits(0.5)))
            stored = len(ledger(lake))
        with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000) as client:
            rest = fetch_batch(lake, BATCH, WANTED_40, Fetching(client, server.url, "M"))

        assert len(server.asked) == 40

    assert 0 < stored < 40
    assert (cut.asked, list(cut.left.values())) == (40, [40 - stored])
    assert cut.as_metadata()["left_for_the_next_run"] == f"{40 - stored}: the 0 s given are over"
    assert cut.paused == ()
    assert (rest.asked, rest.settled, rest.left, rest.statuses) == (40 - stored, stored, {}, {"ok": 40})


def test_outside_its_hours_nothing_is_asked_and_the_report_says_until_when(lake: Lake) -> None:
    hour = datetime.now(UTC).hour
    closed = Window.parse(f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00")
    with serving({}) as server, PoliteClient(user_agent(None), server.url) as client:
        report = fetch_batch(lake, BATCH, WANTED_40, Fetching(client, server.url, "M", limits=Limits(window=closed)))

        assert server.asked == ()

    assert ledger(lake) == {}
    assert list(report.left.values()) == [40]
    assert f"{(hour + 2) % 24:02}:00" in str(report.as_metadata()["left_for_the_next_run"])


def test_a_killed_run_is_gone_on_with_and_asks_again_for_nothing_that_was_kept(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST + number: jpeg(number) if number % 9 else 404 for number in range(120)}
    program = (
        "import sys; from book_search.lake import open_lake;"
        "from book_search.openlibrary.covers import Fetching, fetch_batch;"
        "from book_search.openlibrary.http import PoliteClient, user_agent;"
        "home, url = sys.argv[1:];"
        "client = PoliteClient(user_agent(None), url, requests_per_minute=6000);"
        f"fetch_batch(open_lake(home), '{BATCH}', range({FIRST}, {FIRST + 120}),"
        "Fetching(client, url, 'M'), save_every=10)"
    )
    with serving(covers) as server:
        killed = subprocess.Popen([sys.executable, "-c", program, lake.root, server.url])
        while len(server.asked) < 50 and killed.poll() is None:
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        kept = set(read_stored(lake, BATCH).rows)
        asked_before = {each.path for each in server.asked}
        server.forget()

        report = fetch(lake, server, list(covers))

        asked = Counter(each.path for each in server.asked)
    assert 20 <= len(kept) < 120
    assert len(asked_before) - len(kept) <= 10 + 2 * 4 + 10  # since the last save, under way, and the save's own time
    assert report.asked == 120 - len(kept)
    assert asked == Counter(f"/b/id/{cover_id}-M.jpg" for cover_id in covers.keys() - kept)
    assert {image.image for image in iter_images(lake, RANGE)} == {cover for cover in covers.values() if cover != 404}
    assert report.statuses == {"ok": 106, "missing": 14}


def test_two_runs_at_one_batch_ask_for_each_cover_once(lake: Lake) -> None:
    covers: dict[int, bytes | int] = {FIRST + number: jpeg(number) for number in range(60)}
    with serving(covers) as server, ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(lambda _: fetch(lake, server, list(covers), save_every=7), range(2)))

        assert Counter(each.path for each in server.asked).most_common(1)[0][1] == 1

    assert [report.statuses for report in reports] == [{"ok": 60}] * 2
    assert sorted(report.asked for report in reports) == [0, 60]
    assert list(lake.work.rglob("*.lock")) == []


def test_a_range_is_fetched_batch_by_batch(lake: Lake) -> None:
    ids = [14_600_001, 14_609_999, 14_610_000, 14_650_123]
    told: list[tuple[int, int | None]] = []
    with (
        serving({cover_id: jpeg(cover_id) for cover_id in ids}) as server,
        PoliteClient(user_agent(None), server.url, requests_per_minute=60_000) as client,
    ):
        how = Fetching(client, server.url, "M")
        report = fetch_range(lake, RANGE, ids, how, lambda done, total: told.append((done, total)))
        later = fetch_range(lake, RANGE, ids[:2], how)

    assert (report.asked, report.files_written, report.requests, report.statuses) == (4, 3, 4, {"ok": 4})
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (later.asked, later.dropped, later.statuses) == (0, 2, {"ok": 2})
    assert lake.names("covers/0014_6") == ["covers/0014_6/0014_60.parquet"]
    assert report.as_metadata()["status_ok"] == 4


def test_covers_of_another_range_are_refused(lake: Lake) -> None:
    with serving({}) as server, PoliteClient(user_agent(None), server.url) as client:
        with pytest.raises(ValueError, match="0014_5, not in 0014_6"):
            fetch_range(lake, RANGE, [14_599_999], Fetching(client, server.url, "M"))
        with pytest.raises(ValueError, match="0014_63, not in 0014_62"):
            fetch_batch(lake, BATCH, [FIRST + 10_000], Fetching(client, server.url, "M"))


def test_a_range_that_nobody_wants_is_forgotten(lake: Lake) -> None:
    with serving({FIRST: jpeg(1)}) as server:
        fetch(lake, server, [FIRST])

    forget_range(lake, RANGE)

    assert lake.names("covers/0014_6") == []
    assert read_ledger(lake, RANGE).num_rows == 0
    assert read_ledger(lake, RANGE).schema == schemas.LEDGER
