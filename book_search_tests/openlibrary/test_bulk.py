"""Both roads to the pictures of a batch, over HTTP: the same ledger, the requests that were computed, and no less."""

import io
import random
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from book_search.cover_ranges import CoverRange
from book_search.lake import Lake, open_lake
from book_search.openlibrary.covers import Fetching, FetchReport, covers_path, fetch_batch, iter_images, read_ledger
from book_search.openlibrary.http import PoliteClient, user_agent
from book_search.openlibrary.metadata_dump import KnownCovers
from book_search.openlibrary.roads import RoadRule, RoadWanted
from book_search.sample.server import BLANK, NODE, Content, Faults, SampleServer
from book_search.sample.zips import archive_zips, member_name, zip_of, zip_path

RANGE, BATCH, FIRST = CoverRange.parse("0014_6"), "0014_62", 14_620_000
PATH = zip_path(FIRST, "M")
ROADS: list[RoadWanted] = ["bulk_whole", "bulk_members"]
DIFFERS = ["source_url", "attempts", "fetched_at"]


def jpeg(seed: int) -> bytes:
    rng = random.Random(seed)
    picture = Image.new("RGB", (60, 90), tuple(rng.choices(range(256), k=3)))
    ImageDraw.Draw(picture).ellipse((10, 10, 50, 20 + seed % 60), fill=tuple(rng.choices(range(256), k=3)))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()


PICTURES: dict[int, bytes] = {FIRST + number: jpeg(number % 25) for number in range(60)}


@contextmanager
def serving(
    covers: Mapping[int, bytes | int], zips: Mapping[str, bytes | int], faults: Faults | None = None
) -> Iterator[SampleServer]:
    with SampleServer(Content(date(2026, 10, 31), {}, covers, zips=zips), faults or Faults()) as server:
        yield server


def fetch(
    lake: Lake, server: SampleServer, wanted: list[int], road: RoadWanted, share: float = 0.2, **options: object
) -> FetchReport:
    rule = RoadRule(server.url, road, share)  # computed for the pace of every day, whatever the test keeps
    with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000, backoff=0.01) as client:
        how = Fetching(client, server.url, "M", rule=rule, **options)  # type: ignore[arg-type]
        return fetch_batch(lake, BATCH, wanted, how)


def ledger(lake: Lake) -> list[dict[str, object]]:
    table = lake.read_table(covers_path(BATCH)).drop_columns(DIFFERS)
    return [{name: str(value) for name, value in row.items() if name != "next_try"} for row in table.to_pylist()]


def sources(lake: Lake) -> dict[int, str]:
    return {row["cover_id"]: row["source_url"] for row in read_ledger(lake, RANGE).to_pylist()}


def by_id(asked: SampleServer) -> list[str]:
    return [each.path for each in asked.asked if each.path.startswith("/b/id/")]


@pytest.fixture
def other(tmp_path: Path) -> Lake:
    return open_lake(str(tmp_path / "other"))


@pytest.mark.parametrize("road", ROADS)
def test_both_roads_end_in_the_same_ledger_and_the_same_bytes(road: RoadWanted, lake: Lake, other: Lake) -> None:
    odd: dict[int, bytes | int] = {
        FIRST + 100: 404,
        FIRST + 101: b"<html>not now</html>",
        FIRST + 102: jpeg(1)[:-200],
        FIRST + 103: b"",
        FIRST + 104: BLANK,
        FIRST + 105: 410,
    }
    covers = PICTURES | odd
    with serving(covers, archive_zips(covers, "M")) as server:
        fetch(lake, server, list(covers), "by_id")
        server.forget()

        report = fetch(other, server, list(covers), road)

        # What the zip lacks or spoils is asked for by id, and nothing else.
        assert sorted(by_id(server)) == [f"/b/id/{FIRST + number}-M.jpg" for number in (100, 101, 102, 103, 105)]
    assert ledger(other) == ledger(lake)
    assert report.roads == {road: 1}
    assert (report.from_zips, report.as_metadata()[f"batches_{road}"]) == (61, 1)
    assert sources(other)[FIRST] == f"{server.url}{PATH}/{member_name(FIRST, 'M')}"
    assert sources(other)[FIRST + 101] == f"{server.url}/b/id/{FIRST + 101}-M.jpg?default=false"


def test_the_whole_zip_costs_two_requests_and_its_bytes(lake: Lake) -> None:
    zips = archive_zips(PICTURES, "M")
    with serving(PICTURES, zips) as server:
        report = fetch(lake, server, list(PICTURES), "bulk_whole")

        assert [(each.path, each.status) for each in server.asked] == [(PATH, 302), (NODE + PATH, 200)]
        assert sum(each.sent for each in server.asked) == report.bytes == len(zips[PATH])
    assert (report.requests, report.statuses, report.pictures) == (2, {"ok": 60}, 25)
    assert list((lake.work / "zips").iterdir()) == []


def test_members_cost_the_directory_and_their_stretches(lake: Lake) -> None:
    filler = {cover_id: random.Random(cover_id).randbytes(30_000) for cover_id in range(FIRST + 100, FIRST + 200)}
    with serving(PICTURES, archive_zips(PICTURES | filler, "M")) as server:
        report = fetch(lake, server, [FIRST, FIRST + 1, FIRST + 50], "bulk_members")

        assert [each.status for each in server.asked] == [302, 206, 206]  # the redirect, the end, one stretch
        assert by_id(server) == []
        assert sum(each.sent for each in server.asked) < (1 << 20) + 51 * 2000
    assert report.statuses == {"ok": 3}


def test_a_batch_below_the_share_is_asked_for_by_id_and_one_above_it_in_bulk(lake: Lake, other: Lake) -> None:
    with serving(PICTURES, archive_zips(PICTURES, "M")) as server:
        below = fetch(lake, server, list(PICTURES), "auto", share=0.006)
        assert len(by_id(server)) == 60
        server.forget()

        above = fetch(other, server, list(PICTURES), "auto", share=0.0059)
        assert by_id(server) == []

    assert (below.roads, above.roads) == ({"by_id": 1}, {"bulk_members": 1})
    assert ledger(other) == ledger(lake)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(
    "answer",
    [404, 503, b"<html>Item not available</html>", b"", b"PK\x03\x04 and then nothing of the kind"],
    ids=["absent", "unavailable", "error page", "empty", "no zip"],
)
def test_a_zip_that_is_none_costs_its_covers_nothing(
    road: RoadWanted, answer: bytes | int, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(PICTURES, {PATH: answer}) as server:
        report = fetch(lake, server, list(PICTURES), road)

        assert len(by_id(server)) == 60
    assert (report.statuses, report.from_zips) == ({"ok": 60}, 0)
    assert "the rest is asked for by id" in caplog.text


@pytest.mark.parametrize("road", ROADS)
def test_broken_members_are_asked_for_by_id(road: RoadWanted, lake: Lake) -> None:
    members = {member_name(cover_id, "M"): body for cover_id, body in PICTURES.items()}
    spoilt = [FIRST + 3, FIRST + 59]
    made = zip_of(members, broken=[member_name(cover_id, "M") for cover_id in spoilt])
    with serving(PICTURES, {PATH: made}) as server:
        report = fetch(lake, server, list(PICTURES), road)

        assert sorted(by_id(server)) == [f"/b/id/{cover_id}-M.jpg" for cover_id in spoilt]
    assert report.statuses == {"ok": 60}
    assert {image.image for image in iter_images(lake, RANGE)} == set(PICTURES.values())


@pytest.mark.parametrize("road", ROADS)
def test_faults_on_the_way_change_nothing_in_the_end(road: RoadWanted, lake: Lake, other: Lake) -> None:
    faults = Faults(seed=3, unavailable=0.3, broken=0.6)
    with serving(PICTURES, archive_zips(PICTURES, "M")) as server:
        fetch(lake, server, list(PICTURES), "by_id")
    with serving(PICTURES, archive_zips(PICTURES, "M"), faults) as server:
        fetch(other, server, list(PICTURES), road)
        assert by_id(server) == []
    assert ledger(other) == ledger(lake)


def test_a_picture_that_is_here_is_not_sent_again_for_a_new_neighbour(lake: Lake) -> None:
    filler = {cover_id: random.Random(cover_id).randbytes(30_000) for cover_id in range(FIRST + 100, FIRST + 200)}
    zips = archive_zips(PICTURES | filler, "M")
    with serving(PICTURES, zips) as server:
        fetch(lake, server, list(PICTURES)[1:40], "bulk_whole")
        server.forget()

        fetch(lake, server, list(PICTURES)[:41], "bulk_members")

        assert [each.status for each in server.asked] == [302, 206, 206, 206]  # the first and the last, not as one
        assert sum(each.sent for each in server.asked) < (1 << 20) + 4 * 2000


def test_a_second_run_asks_for_nothing(lake: Lake) -> None:
    with serving(PICTURES, archive_zips(PICTURES, "M")) as server:
        fetch(lake, server, list(PICTURES), "bulk_whole")
        server.forget()

        report = fetch(lake, server, list(PICTURES), "bulk_whole")

        assert server.asked == ()
    assert (report.roads, report.settled) == ({}, 60)


def test_an_archive_that_asks_for_a_long_pause_ends_the_run_and_loses_nothing(lake: Lake) -> None:
    with serving(PICTURES, archive_zips(PICTURES, "M")) as server:
        fetch(lake, server, list(PICTURES)[:20], "by_id")
        server.faults = Faults(seed=1, throttled=1.0, retry_after=3600)

        report = fetch(lake, server, list(PICTURES), "bulk_members")
    assert len(ledger(lake)) == 20
    assert list(report.left.values()) == [40]
    assert "asks to be left alone" in report.paused[0]


def test_a_zip_without_room_on_the_disk_is_read_by_its_members(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("book_search.openlibrary.zip_reader.ROOM_LEFT", 1 << 60)
    with serving(PICTURES, archive_zips(PICTURES, "M")) as server:
        report = fetch(lake, server, list(PICTURES), "bulk_whole")

        assert by_id(server) == []
    assert report.statuses == {"ok": 60}


def test_what_the_metadata_dump_settles_costs_no_request(lake: Lake) -> None:
    known = KnownCovers("file:///dump.txt.gz", array("q", [FIRST + 3]), {FIRST: (1, 1)})
    wanted = [FIRST, FIRST + 1, FIRST + 2, FIRST + 3, FIRST + 51]
    with serving(PICTURES, {}) as server:
        report = fetch(lake, server, wanted, "auto", known=known)
        assert sorted(by_id(server)) == [f"/b/id/{FIRST + number}-M.jpg" for number in (1, 2, 51)]
        server.forget()

        again = fetch(lake, server, wanted, "auto", known=known)
        assert server.asked == ()
        fetch(lake, server, wanted, "auto", known=known, retry_statuses=("placeholder",))
        assert by_id(server) == [f"/b/id/{FIRST}-M.jpg"]

    assert (report.from_dump, report.statuses) == (2, {"ok": 3, "missing": 1, "placeholder": 1})
    assert again.settled == 5
    rows = {row["cover_id"]: row for row in read_ledger(lake, RANGE).to_pylist()}
    settled = rows[FIRST + 3]
    assert (settled["status"], settled["http_status"], settled["attempts"]) == ("missing", None, 0)
    assert settled["source_url"] == "file:///dump.txt.gz"
    assert rows[FIRST]["status"] == "ok"  # asked for again by its status, whatever the dump says


def test_a_run_killed_in_mid_zip_leaves_nothing_half_done(lake: Lake, other: Lake) -> None:
    many = {FIRST + number: jpeg(number) for number in range(400)}
    program = (
        "import sys; from book_search.lake import open_lake;"
        "from book_search.openlibrary.covers import Fetching, fetch_batch;"
        "from book_search.openlibrary.http import PoliteClient, user_agent;"
        "from book_search.openlibrary.roads import RoadRule;"
        "home, url = sys.argv[1:];"
        "client = PoliteClient(user_agent(None), url, requests_per_minute=60000);"
        "print('ready', flush=True);"
        f"fetch_batch(open_lake(home), '{BATCH}', range({FIRST}, {FIRST + 400}),"
        "Fetching(client, url, 'M', RoadRule(url, 'bulk_whole')), save_every=20,"
        "progress=lambda done, of: print(done, flush=True))"
    )
    with serving(many, archive_zips(many, "M")) as server:
        fetch(other, server, list(many), "by_id")
        for stop_at in (0, 100):
            command = [sys.executable, "-c", program, lake.root, server.url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
                assert killed.stdout is not None
                while (line := killed.stdout.readline().strip()) and line != (str(stop_at) if stop_at else "ready"):
                    pass
                time.sleep(0 if stop_at else 0.02)
                killed.send_signal(signal.SIGKILL)
            assert not lake.exists(covers_path(BATCH))  # nothing that a reader would take for the whole
            assert list((lake.work / "zips").glob("*")) == []
        server.forget()

        report = fetch(lake, server, list(many), "auto", share=0.001)

        assert report.roads == {"bulk_members": 1}  # what was stored is not sent again, so not the whole zip
        assert report.settled >= 80
        assert sum(each.sent for each in server.asked) <= (1 << 20)
    assert ledger(lake) == ledger(other)
