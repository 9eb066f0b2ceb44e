"""The planned library: the mess of the real dumps, and a truth that the road comes to by itself."""

import json
import time
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from book_search.cover_ranges import ranges_of
from book_search.lake import Lake
from book_search.openlibrary.catalogue import make_catalogue, wanted_covers, wanted_ranges
from book_search.openlibrary.covers import Fetching, fetch_range, read_ledger
from book_search.openlibrary.dumps import DUMP_KINDS, fetch_dump, find_latest
from book_search.openlibrary.http import PoliteClient, user_agent
from book_search.openlibrary.rules import CatalogueFilter
from book_search.sample.library import Library, gzipped, plan_library
from book_search.sample.server import SOME_FAULTS, SampleServer
from book_search.sample.serving import content_of
from book_search.sample.spoils import SPOILS


@pytest.fixture(scope="module")
def library() -> Library:
    return plan_library(seed=0)


def records(library: Library, kind: str) -> list[dict[str, Any]]:
    """What of a dump's lines is a record, read by plain Python."""
    found = []
    for line in library.lines[kind]:
        fields = line.split("\t")
        if len(fields) == 5 and fields[4].startswith("{") and fields[4].endswith("}"):
            found.append(json.loads(fields[4]))
    return found


def test_the_same_seed_gives_the_same_library(library: Library) -> None:
    assert plan_library(seed=0) == library
    assert plan_library(seed=1, kept=5, dropped=5).lines != plan_library(seed=2, kept=5, dropped=5).lines
    assert gzipped(library.lines["works"]) == gzipped(library.lines["works"])


def test_it_is_small_but_has_everything(library: Library) -> None:
    assert 400 <= len(library.kept) <= 415
    assert Counter(library.dropped.values()) == {reason: pytest.approx(2000 / len(SPOILS), abs=1) for reason in SPOILS}
    assert len(ranges_of(library.kept.values())) == 3
    statuses = Counter(library.statuses().values())
    assert statuses["not_an_image"] == 2
    assert statuses["placeholder"] == statuses["undecodable"] == 1
    assert 5 <= statuses["missing"] <= 12


def test_a_sixth_of_the_covers_are_byte_identical_to_another(library: Library) -> None:
    ids = set(library.kept.values())
    repeated = len(ids) - len({library.specs[cover_id] for cover_id in ids})

    assert 0.12 < repeated / len(ids) < 0.22
    assert max(Counter(library.kept.values()).values()) > 1  # and some editions share one id


def test_the_dumps_are_messy_in_all_the_known_ways(library: Library) -> None:
    editions, works = records(library, "editions"), records(library, "works")
    covers = [json.dumps(record["covers"]) for record in editions if "covers" in record]
    keys = Counter(record["key"] for record in editions)
    text = "\n".join(library.lines["editions"])

    assert {"[-1]", "[null]", "null", "[]"} <= set(covers)
    assert any(each.startswith("[-1, ") for each in covers)
    assert any(each.startswith("[null, ") for each in covers)
    assert {type(record.get("number_of_pages")) for record in editions} == {int, str, float, type(None)}
    assert {type(record.get("description")) for record in works} == {str, dict, type(None)}
    assert {type(work["authors"][0]["type"]) for work in works if "authors" in work} == {str, dict}
    assert sum("authors" not in record for record in editions) > 20
    assert sum("subjects" not in record for record in editions) > 100
    assert sum(times > 1 for times in keys.values()) > 10
    assert "\\u0000" in text
    assert "\\ud83d" in text
    assert "/books/ia:" in text
    assert library.broken == sum(
        len(fields := line.split("\t")) != 5 or not fields[4].startswith("{") or not fields[4].endswith("}")
        for line in library.lines["editions"]
    )
    assert {record["location"].split("/")[1] for record in records(library, "redirects")} == {
        "works",
        "authors",
        "books",
    }


def test_words_on_the_books_speak_of_what_the_covers_show(library: Library) -> None:
    shows = {
        record["title"]: library.specs[library.kept[key]].object
        for record in records(library, "editions")
        if (key := record["key"].rpartition("/")[2]) in library.kept
    }
    speaking = sum(thing in title.lower() for title, thing in shows.items())

    assert 0.4 < speaking / len(shows) < 0.9  # most, not all


def test_an_early_dump_date_is_refused() -> None:
    with pytest.raises(ValueError, match="2022"):
        plan_library(dump_date=date(2020, 1, 31))


def test_the_road_finds_exactly_what_the_library_planned(library: Library, lake: Lake, tmp_path: Path) -> None:
    with SampleServer(content_of(library, tmp_path / "drawn"), replace(SOME_FAULTS, throttled=0)) as server:
        for kind in DUMP_KINDS:
            fetch_dump(lake, find_latest(kind, server.url, user_agent(None)), user_agent(None))
        made = make_catalogue(lake, CatalogueFilter())
        with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000, backoff=0.01) as client:
            for each in wanted_ranges(lake):
                fetch_range(lake, each, wanted_covers(lake, each), Fetching(client, server.url, "M"))

    books = lake.read_table(made.path).to_pylist()
    kept = {book["edition_key"]: book["cover_id"] for book in books}
    assert Counter(library.dropped.get(key, "unknown") for key in kept.keys() - library.kept.keys()) == {}
    assert kept == library.kept
    assert {book["edition_key"]: book["title"] for book in books} == library.titles
    assert all(book["authors"] for book in books)
    assert made.rejects["editions"] == library.broken
    ledger = [row for each in wanted_ranges(lake) for row in read_ledger(lake, each).to_pylist()]
    assert {row["cover_id"]: row["status"] for row in ledger} == library.statuses()


def test_a_drawn_cover_is_drawn_once(library: Library, tmp_path: Path) -> None:
    cover_ids = [cover_id for cover_id in library.kept.values() if cover_id not in library.answers][:20]
    covers = content_of(library, tmp_path / "drawn").covers
    bodies = {cover_id: covers[cover_id] for cover_id in cover_ids}
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "drawn").iterdir()}
    start = time.monotonic()

    again = content_of(library, tmp_path / "drawn").covers

    assert {cover_id: again[cover_id] for cover_id in cover_ids} == bodies
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "drawn").iterdir()} == files
    assert len(files) == len({library.specs[cover_id] for cover_id in cover_ids})
    assert time.monotonic() - start < 1
