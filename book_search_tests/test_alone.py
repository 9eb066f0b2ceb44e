"""Who writes a part of the lake is alone at it, and what a killed writer left there goes with the next."""

import multiprocessing
import os
import threading
import time
from datetime import date
from pathlib import Path

import pytest

from book_search.alone import alone, alone_at
from book_search.lake import PARTIAL, Lake, open_lake
from book_search.openlibrary.dumps import fetch_dump, find_latest
from book_search.openlibrary.records import open_scratch
from book_search.sample.library import gzipped
from book_search.sample.server import Content, SampleServer

LINE = '/type/edition\t/books/OL1M\t1\t2020-01-01T00:00:00\t{"key": "/books/OL1M", "title": "One"}'


@alone_at(lambda _, part, *__: (part, f"kept/{part}"))
def write_slowly(lake: Lake, part: str, seen: list[str]) -> None:
    seen.append("in")
    with lake.writing(f"kept/{part}/file.txt") as local:
        time.sleep(0.1)
        local.write_text(part)
    seen.append("out")


def die_while_writing(home: str) -> None:
    lake = open_lake(home)

    @alone_at(lambda _: ("part", "kept/part"))
    def write(lake: Lake) -> None:
        with lake.writing("kept/part/file.txt") as local:
            local.write_text("half")
            os.kill(os.getpid(), 9)

    write(lake)


def die_with_a_scratch(work: Path) -> None:
    with open_scratch(work):
        os.kill(os.getpid(), 9)


def _killed(target: object, *args: object) -> None:
    child = multiprocessing.get_context("spawn").Process(target=target, args=args)  # type: ignore[arg-type]
    child.start()
    child.join()
    assert child.exitcode == -9


def test_of_two_writers_of_one_part_one_waits_for_the_other(lake: Lake) -> None:
    seen: list[str] = []
    threads = [threading.Thread(target=write_slowly, args=(lake, "part", seen)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == ["in", "out"] * 3
    assert list((lake.work / "locks").iterdir()) == []


def test_who_is_at_another_part_is_not_waited_for(lake: Lake) -> None:
    with alone(lake.work / "locks", "other", "something else"):
        write_slowly(lake, "part", [])

    assert lake.read_bytes("kept/part/file.txt") == b"part"


def test_what_a_killed_writer_left_goes_with_the_next(lake: Lake) -> None:
    _killed(die_while_writing, lake.root)
    folder = Path(lake.root) / "kept" / "part"
    assert [path.name.startswith(PARTIAL) for path in folder.iterdir()] == [True]

    write_slowly(lake, "part", [])

    assert [path.name for path in folder.iterdir()] == ["file.txt"]


def test_a_killed_runs_scratch_goes_with_the_next_and_a_living_ones_stays(tmp_path: Path) -> None:
    _killed(die_with_a_scratch, tmp_path)
    (dead,) = tmp_path.glob("catalogue-*")

    with open_scratch(tmp_path) as living, open_scratch(tmp_path):
        assert len(list(tmp_path.glob("catalogue-*"))) == 2
        assert living.sql("select 1").fetchall() == [(1,)]

    assert not dead.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["editions", "redirects"])
def test_a_dump_that_two_ask_for_at_once_is_downloaded_once(lake: Lake, kind: str) -> None:
    content = Content(date(2026, 10, 31), {kind: gzipped((LINE.replace("edition", kind.removesuffix("s")),))}, {})
    with SampleServer(content) as server:
        release = find_latest(kind, server.url, "test")
        threads = [threading.Thread(target=fetch_dump, args=(lake, release, "test")) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len([asked for asked in server.asked if asked.method == "GET" and asked.status == 200]) == 1
    assert len(lake.names(f"dumps/{kind}")) == 2


def test_a_dump_that_a_killed_run_did_not_remove_is_removed_by_the_next(lake: Lake) -> None:
    content = Content(date(2026, 10, 31), {"editions": gzipped((LINE,))}, {})
    with SampleServer(content) as server:
        release = find_latest("editions", server.url, "test")
        record = fetch_dump(lake, release, "test")
        lake.write_bytes("dumps/editions/ol_dump_editions_2026-09-30.txt.gz", b"older")
        (lake.work / "downloads" / "ol_dump_editions_2026-09-30.txt.gz.part").write_bytes(b"older")

        fetch_dump(lake, release, "test")

    assert lake.names("dumps/editions") == sorted([record.path, str(record.rejects)])
    assert list((lake.work / "downloads").iterdir()) == []
