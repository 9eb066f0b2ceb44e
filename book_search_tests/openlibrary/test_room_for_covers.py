"""What a batch of covers may take: memory that does not grow with the pictures, and no more disk than there is."""

import multiprocessing
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from book_search.lake import PARTIAL, Lake, open_lake
from book_search.openlibrary.cover_batch import CoverFile
from book_search.openlibrary.cover_files import covers_path, iter_images
from book_search.openlibrary.cover_parts import read_stored
from book_search.openlibrary.room import DiskFullError
from book_search_tests.openlibrary.test_cover_batch import BATCH, FIRST, RANGE, picture, row


def fill_in_little_memory(home: str, covers: int, size: int, told: str) -> None:
    lake = open_lake(home)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with CoverFile.open(lake, BATCH) as held:
        for number in range(covers):
            image = number.to_bytes(4) + bytes(size)
            held.put(row(number, image), image)
    Path(told).write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux alone")
def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    told, size, covers = tmp_path / "told", 200_000, 1200
    child = multiprocessing.get_context("spawn").Process(
        target=fill_in_little_memory, args=(str(tmp_path / "lake"), covers, size, str(told))
    )
    child.start()
    child.join()

    assert int(told.read_text()) * 1024 < covers * size / 2


def fill_what_fits(home: str, size: int, most: int, told: str) -> None:
    """No file may grow beyond `most` bytes: what a full disk does, without one."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        with CoverFile.open(open_lake(home), BATCH, save_every=10) as held:
            for number in range(35):
                held.put(row(number, picture(number, size)), picture(number, size))
    except DiskFullError as error:
        Path(told).write_text(str(error))


@pytest.mark.parametrize(("most", "kept"), [(150_000, 0), (250_000, 35)], ids=["of a part", "of the whole"])
def test_a_full_disk_is_said_clearly_and_loses_nothing_that_was_stored(tmp_path: Path, most: int, kept: int) -> None:
    told, lake = tmp_path / "told", open_lake(str(tmp_path / "lake"))
    arguments = (lake.root, 20_000, most, str(told))
    child = multiprocessing.get_context("spawn").Process(target=fill_what_fits, args=arguments)
    child.start()
    child.join()

    assert "no room is left for the covers of batch 0014_62" in told.read_text()
    assert "free some space and run again" in told.read_text()
    assert [path for path in Path(lake.root).rglob("*") if path.name.startswith(PARTIAL)] == []
    assert not lake.exists(covers_path(BATCH))
    with CoverFile.open(lake, BATCH) as held:
        assert len(held.rows) == kept
    assert len(list(iter_images(lake, RANGE))) == kept


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_runs_full_loses_nothing_that_was_stored(small_disk: Path) -> None:
    lake = open_lake(str(small_disk))

    def put(numbers: Sequence[int]) -> None:
        with CoverFile.open(lake, BATCH, save_every=2) as held:
            for number in numbers:
                held.put(row(number, picture(number, 300_000)), picture(number, 300_000))

    with pytest.raises(DiskFullError, match="No space left"):
        put(range(20))
    assert 4 <= len(read_ledger_of_parts(lake)) < 20
    assert not lake.exists(covers_path(BATCH))

    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    before = read_ledger_of_parts(lake)
    put([number for number in range(20) if FIRST + number not in before])

    assert {each.image for each in iter_images(lake, RANGE)} == {picture(number, 300_000) for number in range(20)}


def test_a_disk_without_room_for_a_batch_is_refused_before_anything_is_asked(small_disk: Path) -> None:
    with CoverFile.open(open_lake(str(small_disk)), BATCH) as held:
        held.require_room(10)
        with pytest.raises(DiskFullError, match=r"1000 covers need about 80 MB in .*, where 4 MB are free; free some"):
            held.require_room(1000)


def test_a_disk_without_room_for_a_batch_still_loses_what_must_go(small_disk: Path) -> None:
    lake = open_lake(str(small_disk))
    with CoverFile.open(lake, BATCH) as held:
        for number in range(2):
            held.put(row(number, picture(number)), picture(number))

    def ask_for_too_many() -> None:
        with CoverFile.open(lake, BATCH) as held:
            held.keep_only([FIRST + 1])
            held.require_room(10**6)

    with pytest.raises(DiskFullError):
        ask_for_too_many()
    assert [each.image for each in iter_images(lake, RANGE)] == [picture(1)]


def read_ledger_of_parts(lake: Lake) -> set[int]:
    return {each.cover_id for each in read_stored(lake, BATCH).rows.values()}
