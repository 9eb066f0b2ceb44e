"""What the benchmark of covers rests on: fair pictures, a server that serves, a table that is true."""

import io
import sys
import zipfile
from pathlib import Path

import pytest
import urllib3
from PIL import Image, ImageChops

from book_search.openlibrary.images import inspect
from book_search_tests.benchmarks.bench_covers import Result, table, verdicts, without_start
from book_search_tests.benchmarks.cover_contenders import download, floor, looked_at, ours, zipfile_members
from book_search_tests.benchmarks.cover_contest import BY_ID, FLOORS, OURS, Contender, contenders, covers_had
from book_search_tests.benchmarks.cover_field import Field, prepare, serving
from book_search_tests.benchmarks.cover_pictures import SIZE, drawn_picture, drawn_pictures, picture_of
from book_search_tests.benchmarks.measuring import Measured, measure

OTHER = "img2dataset, of another kind"


def measured(cpu: float, wall: float = 1.0, peak_mb: float = 100.0, said: str = "") -> Measured:
    return Measured(wall, cpu, peak_mb, said)


def test_a_drawn_picture_is_as_large_as_real_covers_are() -> None:
    picture = drawn_picture(1)

    assert inspect(picture).status == "ok"
    assert 15_000 < len(picture) < 75_000
    assert Image.open(io.BytesIO(picture)).size == SIZE


def test_every_cover_has_bytes_of_its_own_and_the_same_pixels() -> None:
    pictures = [drawn_picture(1)]

    one, other = picture_of(pictures, 7), picture_of(pictures, 8)

    assert one != other
    assert one[6:10] == b"JFIF"  # by which img2dataset tells that it need not encode anew
    seen = [Image.open(io.BytesIO(body)).convert("RGB") for body in (pictures[0], one, other)]
    assert all(ImageChops.difference(seen[0], each).getbbox() is None for each in seen[1:])


def test_all_contenders_of_ours_have_every_cover_of_the_server(tmp_path: Path) -> None:
    pictures = [path.read_bytes() for path in drawn_pictures(tmp_path / "pictures", 3)]

    with serving(tmp_path / "pictures", tmp_path / "zips") as url:
        (field,) = prepare(tmp_path, [30], pictures, url)
        ids = [int(line) for line in field.ids.read_text().split()]
        zipped = [int(line) for line in field.zipped_ids.read_text().split()]
        taken = sum(len(picture_of(pictures, cover_id)) for cover_id in ids)
        assert floor(url, ids, 2, looked_at) == (30, taken)
        assert ours(url, ids, tmp_path / "by_id", "by_id")[0] == 30
        assert ours(url, zipped, tmp_path / "whole", "bulk_whole")[0] == 30
        assert ours(url, zipped, tmp_path / "members", "bulk_members")[0] == 30
        assert download([field.zip_url]) == (1, field.zip.stat().st_size)

    assert zipfile_members([field.zip])[0] == 30
    with zipfile.ZipFile(field.zip) as archive:
        assert archive.getinfo("0014700000-L.jpg").compress_type == zipfile.ZIP_STORED


def test_the_server_gives_the_part_of_a_zip_that_is_asked_for(tmp_path: Path) -> None:
    pictures = [path.read_bytes() for path in drawn_pictures(tmp_path / "pictures", 1)]

    with serving(tmp_path / "pictures", tmp_path / "zips") as url:
        (field,) = prepare(tmp_path, [2], pictures, url)
        whole = field.zip.read_bytes()
        asked = {
            wanted: urllib3.request("GET", field.zip_url, headers={"Range": f"bytes={wanted}"})
            for wanted in ("10-19", "-5", f"{len(whole)}-")
        }

    assert [answer.status for answer in asked.values()] == [206, 206, 416]
    assert (asked["10-19"].data, asked["-5"].data) == (whole[10:20], whole[-5:])


def test_a_count_beyond_an_archive_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="10,000"):
        prepare(tmp_path, [10_001], [drawn_picture(1)], "http://127.0.0.1:1")


def test_processor_time_of_children_counts_and_a_failure_tells_why() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('12 covers')"

    took = measure([sys.executable, "-c", parent])

    assert took.cpu >= 0.3
    assert took.said == "12 covers"
    with pytest.raises(RuntimeError, match="no such cover"):
        measure([sys.executable, "-c", "raise SystemExit('no such cover')"])


def test_the_table_says_ratios_of_processor_time_and_who_was_left_out() -> None:
    entered = [
        Contender(FLOORS[BY_ID], BY_ID, ("floor",)),
        Contender(OURS[BY_ID], BY_ID, ("ours",)),
        Contender(OTHER, BY_ID, ("other",)),
    ]
    results: dict[tuple[str, int], Result | str] = {
        (FLOORS[BY_ID], 1000): Result(1000, measured(0.5, wall=0.25)),
        (OURS[BY_ID], 1000): Result(1000, measured(1.5, wall=2)),
        (OTHER, 1000): "it is not installed",
    }

    lines = table(BY_ID, entered, [1000], results).splitlines()

    assert lines[2] == f"| {FLOORS[BY_ID]} | 1,000 | 4,000 | 0.50 | 1.0 | 100 |"
    assert lines[3] == f"| {OURS[BY_ID]} | 1,000 | 500 | 1.50 | 3.0 | 100 |"
    assert lines[4] == f"| {OTHER} | 1,000 | left out: it is not installed | | | |"


def test_of_several_rounds_the_best_counts_and_of_memory_the_worst() -> None:
    one, two = Result(10, measured(cpu=2, wall=3, peak_mb=5)), Result(10, measured(cpu=1, wall=4, peak_mb=6))

    assert two.or_better(one.or_better(None)) == Result(10, measured(cpu=1, wall=3, peak_mb=6))


def test_the_start_of_a_process_falls_out_between_few_covers_and_many() -> None:
    results = {
        ("a", 1000): Result(1000, measured(cpu=5)),
        ("a", 3000): Result(3000, measured(cpu=9)),
        ("b", 1000): Result(1000, measured(cpu=5)),
    }

    assert without_start("a", [1000, 3000], results) == 2.0
    assert without_start("b", [1000, 3000], results) is None


def test_the_goals_are_told_with_figures() -> None:
    results: dict[tuple[str, int], Result | str] = {
        (FLOORS[BY_ID], 2000): Result(2000, measured(1, wall=1)),
        (OURS[BY_ID], 1000): Result(1000, measured(2, peak_mb=200)),
        (OURS[BY_ID], 2000): Result(2000, measured(4, wall=6, peak_mb=210)),
        (OTHER, 2000): Result(2000, measured(8)),
    }

    assert verdicts([1000, 2000], results) == [
        "by id: 4.0 times the floor's processor time and 6.0 times its time",
        "by id: 200 MB at 1,000 covers, 210 MB at 2,000",
        f"2.00 times the covers per CPU second of {OTHER}",
    ]


def test_a_contender_is_believed_by_what_it_leaves(tmp_path: Path) -> None:
    covers = Field(9, tmp_path, tmp_path, tmp_path, tmp_path, "")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "00000_stats.json").write_text('{"successes": 7}')

    def had(name: str) -> int:
        (contender,) = [each for each in contenders(tmp_path, None) if each.name.startswith(name)]
        return covers_had(contender, measured(1, said="5 1234"), tmp_path, covers)

    assert had("floor: urllib3") == 5
    assert had("img2dataset, as it comes") == 7
    assert had("floor: `unzip`") == 1
    assert had("the zip downloaded") == 9
