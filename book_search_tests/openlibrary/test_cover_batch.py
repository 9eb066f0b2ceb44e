"""A batch of covers under way: what is stored when, and what is left of it when a run ends too early."""

import hashlib
import multiprocessing
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from book_search import schemas
from book_search.cover_ranges import CoverRange
from book_search.lake import PARTIAL, Lake, open_lake
from book_search.openlibrary.cover_batch import CoverFile
from book_search.openlibrary.cover_files import (
    batches_of,
    covers_path,
    forget_range,
    iter_images,
    parts_of,
    ranges_kept,
    read_ledger,
)
from book_search.openlibrary.cover_parts import (
    BYTES_PER_GROUP,
    ROWS_PER_GROUP,
    MovedError,
    read_stored,
    write_batch,
    write_part,
)
from book_search.openlibrary.ledger import LedgerRow, Status

RANGE, BATCH, FIRST = CoverRange.parse("0014_6"), "0014_62", 14_620_000
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def picture(seed: int, size: int = 900) -> bytes:
    return b"\xff\xd8\xff" + random.Random(seed).randbytes(size)


def row(number: int, image: bytes | None, status: Status = "missing") -> LedgerRow:
    sha256 = None if image is None else hashlib.sha256(image).hexdigest()
    length = None if image is None else len(image)
    known = ("ok" if image else status, 200 if image else 404, 1, None, length, 180, 270, sha256, "http://x", NOW)
    return LedgerRow(FIRST + number, *known)  # type: ignore[arg-type]


def fill(lake: Lake, numbers: Sequence[int], save_every: int = 3, shared: int = 1) -> None:
    """One run that fetches these covers; every fifth is missing, and `shared` neighbours have one picture."""
    with CoverFile.open(lake, BATCH, save_every) as held:
        held.keep_only(FIRST + number for number in numbers)
        for number in numbers:
            if FIRST + number not in held.rows:
                image = None if number % 5 == 4 else picture(number // shared)
                held.put(row(number, image), image)


def stored(lake: Lake) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = lake.read_table(covers_path(BATCH)).to_pylist()
    return rows


@dataclass(frozen=True)
class DyingLake(Lake):
    """A lake whose process is killed at the n-th step of storing, if it gets as far."""

    steps: list[int] = field(default_factory=list)

    def _step(self) -> None:
        self.steps[0] -= 1
        if self.steps[0] == 0:
            os.kill(os.getpid(), 9)

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        self._step()
        with super().writing(path) as local:
            yield local
            self._step()
        self._step()

    def delete(self, path: str) -> None:
        self._step()
        super().delete(path)
        self._step()


@dataclass(frozen=True)
class WatchedLake(Lake):
    """A lake that remembers what was written, in order."""

    written: list[str] = field(default_factory=list)

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        self.written.append(path)
        with super().writing(path) as local:
            yield local


def fill_and_die(home: str, numbers: Sequence[int], step: int) -> None:
    lake = open_lake(home)
    fill(DyingLake(lake.filesystem, lake.root, lake.work, steps=[step]), numbers, shared=2)


def test_what_comes_in_is_seen_by_readers_once_the_batch_is_whole(any_lake: Lake) -> None:
    lake = any_lake
    with CoverFile.open(lake, BATCH, save_every=2) as held:
        for number in range(7):
            held.put(row(number, picture(number)), picture(number))
        assert len(parts_of(lake, BATCH)) == 3
        assert read_ledger(lake, RANGE).num_rows == 0
        assert list(iter_images(lake, RANGE)) == []

    assert [each.image for each in iter_images(lake, RANGE)] == [picture(number) for number in range(7)]
    assert parts_of(lake, BATCH) == []
    assert held.written


def test_a_small_batch_is_written_once_and_a_large_one_twice(lake: Lake) -> None:
    watched = WatchedLake(lake.filesystem, lake.root, lake.work)

    fill(watched, range(5), save_every=100)
    assert watched.written == [covers_path(BATCH)]

    fill(watched, range(12), save_every=3)
    assert [path.partition("/")[0] for path in watched.written] == ["covers", *["covers-parts"] * 2, "covers"]


@pytest.mark.parametrize("before", [(), range(0, 40, 3)], ids=["new", "begun before"])
def test_killed_at_any_step_of_storing_a_batch_ends_as_if_it_had_not_been(
    tmp_path: Path, before: Sequence[int]
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    numbers = range(1, 20)
    undisturbed = open_lake(str(tmp_path / "undisturbed"))
    fill(undisturbed, before, shared=2)
    fill(undisturbed, numbers, shared=2)

    survived, step = False, 0
    while not survived:
        step += 1
        lake = open_lake(str(tmp_path / str(step)))
        fill(lake, before, shared=2)
        for again in (step, step, 1000):  # the second run is killed as well
            child = context.Process(target=fill_and_die, args=(lake.root, numbers, again))
            child.start()
            child.join()
            for path in lake.names(f"covers/{RANGE.key}"):
                shown = {each["sha256"] for each in lake.read_table(path).to_pylist() if each["status"] == "ok"}
                assert {each.sha256 for each in iter_images(lake, RANGE)} == shown
            survived = survived or (again == step and child.exitcode == 0)
        assert child.exitcode == 0
        assert stored(lake) == stored(undisturbed)
        assert parts_of(lake, BATCH) == []
        assert [path for path in Path(lake.root).rglob("*") if path.name.startswith(PARTIAL)] == []
    assert step > 11


def test_two_machines_at_one_batch_lose_nothing_that_either_stored(any_lake: Lake, tmp_path: Path) -> None:
    """They share no lock: here each has a work folder of its own."""
    lakes = [replace(any_lake, work=tmp_path / name) for name in ("one", "two")]
    numbers = [list(range(8)), list(range(4, 14))]
    with ExitStack() as second, CoverFile.open(lakes[0], BATCH, save_every=3) as one:
        two = second.enter_context(CoverFile.open(lakes[1], BATCH, save_every=3))
        for held, own in zip((one, two), numbers, strict=True):
            for number in own:
                held.put(row(number, picture(number // 2)), picture(number // 2))

    assert [each["cover_id"] for each in stored(any_lake)] == [FIRST + number for number in range(14)]
    assert {each.image for each in iter_images(any_lake, RANGE)} == {picture(number) for number in range(7)}
    assert parts_of(any_lake, BATCH) == []


def test_a_picture_is_never_taken_from_a_place_where_another_machine_put_a_different_one(lake: Lake) -> None:
    fill(lake, range(4))
    before = read_stored(lake, BATCH)
    with CoverFile.open(lake, BATCH) as other:
        other.keep_only(FIRST + number for number in (1, 2, 3, 5))
        other.put(row(5, picture(5)), picture(5))

    with pytest.raises(MovedError):
        write_batch(lake, BATCH, before.rows.values(), {}, before.places)

    for each in stored(lake):
        assert each["sha256"] == hashlib.sha256(each["image"]).hexdigest()  # type: ignore[arg-type]


def test_parts_that_another_machine_merges_meanwhile_are_read_in_its_file(lake: Lake, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Overtaken(Lake):
        merged: list[str] = field(default_factory=list)

        def parquet(self, path: str) -> pq.ParquetFile:
            if path in parts_of(self, BATCH) and not self.merged:
                self.merged.append(path)
                with CoverFile.open(Lake(self.filesystem, self.root, tmp_path / "other"), BATCH):
                    pass
            return super().parquet(path)

    write_part(lake, BATCH, [row(0, picture(0))], {row(0, picture(0)).sha256 or "": picture(0)})

    with CoverFile.open(Overtaken(lake.filesystem, lake.root, lake.work), BATCH) as held:
        held.put(row(1, picture(1)), picture(1))

    assert [each["image"] for each in stored(lake)] == [picture(0), picture(1)]


def test_a_part_that_outlived_its_merging_says_less_than_the_file(lake: Lake) -> None:
    found = replace(row(0, picture(0)), fetched_at=NOW + timedelta(days=1))
    with CoverFile.open(lake, BATCH) as held:
        held.put(found, picture(0))
    write_part(lake, BATCH, [row(0, None, "missing")], {})  # as a killed run left it, before the retry that found it

    with CoverFile.open(lake, BATCH) as held:
        assert held.rows == {FIRST: found}

    assert [each["image"] for each in stored(lake)] == [picture(0)]
    assert parts_of(lake, BATCH) == []


def test_nothing_is_written_where_nothing_changed(lake: Lake) -> None:
    fill(lake, range(10))
    written = os.stat(lake.uri(covers_path(BATCH))).st_mtime_ns

    with CoverFile.open(lake, BATCH) as held:
        assert held.keep_only(range(FIRST, FIRST + 10)) == 0

    assert not held.written
    assert os.stat(lake.uri(covers_path(BATCH))).st_mtime_ns == written


def test_a_picture_moves_to_the_next_cover_that_shows_it(lake: Lake) -> None:
    fill(lake, [0, 1, 2, 3], shared=4)

    with CoverFile.open(lake, BATCH) as held:
        held.keep_only([FIRST + 2, FIRST + 3, FIRST + 7])
        held.put(row(7, picture(0)), picture(0))

    assert [(each["cover_id"], each["image"]) for each in stored(lake)] == [
        (FIRST + 2, picture(0)),
        (FIRST + 3, None),
        (FIRST + 7, None),
    ]


def test_pictures_that_nobody_wants_any_more_leave_the_parts_of_a_killed_run_too(lake: Lake) -> None:
    kept, gone = row(0, picture(0)), row(1, picture(1))
    write_part(lake, BATCH, [kept, gone], {str(each.sha256): picture(each.cover_id - FIRST) for each in (kept, gone)})

    with CoverFile.open(lake, BATCH) as held:
        assert list(held.rows) == [FIRST, FIRST + 1]
        assert held.keep_only([FIRST]) == 1

    assert parts_of(lake, BATCH) == []
    assert [each["image"] for each in stored(lake)] == [picture(0)]


def test_a_range_is_forgotten_with_the_parts_of_a_killed_run(lake: Lake) -> None:
    write_part(lake, BATCH, [row(0, None)], {})
    half = Path(lake.uri(f"covers/0014_6/{PARTIAL}{'0' * 32}-0014_62.parquet"))
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    assert batches_of(lake, RANGE) == [BATCH]
    assert ranges_kept(lake) == [RANGE]

    forget_range(lake, RANGE)

    assert batches_of(lake, RANGE) == []
    assert ranges_kept(lake) == []
    assert not half.exists()


def test_an_error_in_the_block_loses_nothing(lake: Lake) -> None:
    def interrupted() -> None:
        with CoverFile.open(lake, BATCH) as held:
            held.put(row(0, picture(0)), picture(0))
            raise ConnectionError("as when a host asks for a pause")

    with pytest.raises(ConnectionError):
        interrupted()

    assert [each.image for each in iter_images(lake, RANGE)] == [picture(0)]


def test_a_row_without_its_picture_is_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match="is not here"), CoverFile.open(lake, BATCH) as held:
        held.put(row(0, picture(0)), None)


def test_covers_whose_picture_was_lost_are_asked_for_again(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """As when two machines were at one batch of a lake on S3; a ledger that lies would never be mended."""
    fill(lake, range(4), save_every=100)
    table = lake.read_table(covers_path(BATCH))
    pictures = [picture(0), None, *table["image"].to_pylist()[2:]]
    lake.write_table(covers_path(BATCH), table.set_column(11, schemas.COVERS.field("image"), [pictures]))

    fill(lake, [0, 1, 2, 3, 9])
    with CoverFile.open(lake, BATCH) as held:
        assert sorted(held.rows) == [FIRST + number for number in (0, 2, 3, 9)]

    assert "1 pictures of batch 0014_62 are lost" in caplog.text


def test_what_a_killed_writer_left_is_swept_up_and_nothing_else(lake: Lake) -> None:
    fill(lake, range(3))
    ours = [
        f"covers/0014_6/{PARTIAL}{'0' * 32}-0014_62.parquet",
        f"covers-parts/0014_6/{PARTIAL}{'0' * 32}-0014_62-000001-aa.parquet",
    ]
    others = [f"covers/0014_6/{PARTIAL}{'0' * 32}-0014_63.parquet", f"embeddings/{PARTIAL}{'0' * 32}-0014_62.parquet"]
    for path in [*ours, *others]:
        os.makedirs(os.path.dirname(lake.uri(path)), exist_ok=True)
        Path(lake.uri(path)).write_bytes(b"half")

    fill(lake, range(3))

    assert [path for path in [*ours, *others] if os.path.exists(lake.uri(path))] == others


def test_a_reader_holds_few_pictures_at_a_time(lake: Lake) -> None:
    with CoverFile.open(lake, BATCH) as held:
        for number in range(600):
            held.put(row(number, picture(number)), picture(number))
        for number in range(600, 612):
            held.put(row(number, picture(number, 1 << 20)), picture(number, 1 << 20))

    with lake.parquet(covers_path(BATCH)) as file:
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [256, 256, 91, 3, 3, 3]
    assert all(group.num_rows <= ROWS_PER_GROUP and group.nbytes < BYTES_PER_GROUP * 1.1 for group in groups)
