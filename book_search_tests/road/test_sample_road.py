"""The whole road on the sample: what is planned is found, a second run does nothing, a new dump costs little."""

import json
import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from psycopg import conninfo

from book_search.defs.resources import BookSearch, ClipResource, DatabaseResource
from book_search.index.connection import connect
from book_search.sample.library import Library, plan_library
from book_search.sample.serving import content_of
from book_search.search.query import Query
from book_search_tests.defs.ticking import tick
from book_search_tests.road.conftest import MakeRoad, Road

COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"


@pytest.fixture(scope="module")
def library() -> Library:
    return plan_library(seed=3, kept=60, dropped=120)


@pytest.fixture(scope="module")
def road(make_road: MakeRoad, library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    content = content_of(library, tmp_path_factory.mktemp("drawn"), size=(60, 90))
    with make_road("sample", content) as road:
        road.run()
        yield road


def _command(*arguments: str) -> str:
    ran = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _rows(road: Road, query: str) -> list[tuple[object, ...]]:
    with connect(road.dsn) as connection:
        return connection.execute(query).fetchall()


def test_the_books_kept_are_exactly_those_that_were_made_to_be_kept(road: Road, library: Library) -> None:
    assert dict(_rows(road, "select edition_key, cover_id from book")) == library.kept
    assert dict(_rows(road, "select edition_key, title from book")) == library.titles


def test_the_ledger_tells_of_every_cover_what_the_server_did(road: Road, library: Library) -> None:
    assert dict(_rows(road, "select cover_id, status from cover")) == library.statuses()


def test_every_good_cover_has_a_vector_and_its_tags(road: Road, library: Library) -> None:
    good = {cover_id for cover_id, status in library.statuses().items() if status == "ok"}
    assert {cover_id for (cover_id,) in _rows(road, "select cover_id from cover_embedding")} == good
    assert {cover_id for (cover_id,) in _rows(road, "select distinct cover_id from cover_tag")} == good


def test_a_second_run_asks_for_nothing_and_writes_nothing(road: Road) -> None:
    before = _rows(road, "select xmin::text, edition_key from book") + _rows(
        road, "select xmin::text, * from index_build"
    )
    vectors = _rows(road, "select xmin::text, cover_id from cover_embedding_1")
    road.server.forget()

    road.run()

    assert not [asked for asked in road.server.asked if asked.status == 200 and asked.method == "GET"]
    assert not [asked for asked in road.server.asked if asked.path.startswith("/b/id/")]
    after = _rows(road, "select xmin::text, edition_key from book") + _rows(
        road, "select xmin::text, * from index_build"
    )
    assert after == before
    assert _rows(road, "select xmin::text, cover_id from cover_embedding_1") == vectors


def test_the_search_answers_on_the_command_line_in_json(road: Road) -> None:
    answer = json.loads(_command("search", "a white ship under a moon", "--limit", "3", "--json"))
    assert len(answer["hits"]) == 3
    assert {"edition_key", "title", "cosine", "strength", "vector_rank"} <= answer["hits"][0].keys()


def test_a_cover_of_the_library_finds_itself_as_a_picture(road: Road, library: Library, tmp_path: Path) -> None:
    cover_id = next(c for c in library.kept.values() if library.statuses()[c] == "ok")
    picture = tmp_path / "cover.jpg"
    body = road.server.content.covers[cover_id]
    assert isinstance(body, bytes)
    picture.write_bytes(body)

    answer = json.loads(_command("search", "--image", str(picture), "--limit", "1", "--json"))

    assert answer["hits"][0]["cosine"] > 0.999


def test_a_book_with_a_change_and_its_likes_are_asked_for_by_its_key(road: Road, library: Library) -> None:
    key = next(k for k, c in library.kept.items() if library.statuses()[c] == "ok")
    changed = json.loads(_command("search", "--like", key, "but at night", "--avoid", "snow", "--json"))
    alike = json.loads(_command("similar", key, "--json", "--limit", "5"))
    assert len(alike["hits"]) == 5
    assert key not in {hit["edition_key"] for hit in [*changed["hits"], *alike["hits"]]}


def test_filters_of_the_command_line_hold(road: Road) -> None:
    answer = json.loads(_command("search", "a ship", "--year-from", "2021", "--json"))
    assert answer["hits"]
    assert all(hit["publish_year"] >= 2021 for hit in answer["hits"])


def test_psql_asks_book_search_for_a_vector_and_searches_with_it(road: Road) -> None:
    script = road.home / "question.sql"
    script.write_text(
        '\\set q `book-search embed "a ship under a full moon"`\n'
        "select count(*) from search_books(:'q', 'a ship under a full moon', 10);\n"
    )
    assert _command("psql", "-At", "-f", str(script)).split() == ["10"]


def test_the_password_is_on_no_command_line(road: Road, tmp_path: Path) -> None:
    """What psql itself is started with is seen by every user of the machine."""
    with_password = conninfo.make_conninfo(road.dsn, password="hunter2")
    shown = subprocess.run(
        [COMMAND, "psql", "-At", "-c", "\\! tr '\\0' ' ' < /proc/$PPID/cmdline"],
        capture_output=True, text=True, check=True, env=os.environ | {"BOOK_SEARCH_DATABASE_URL": with_password},
    )  # fmt: skip
    assert "psql" in shown.stdout
    assert "hunter2" not in shown.stdout + shown.stderr


def test_the_sql_of_the_readme_runs_as_it_stands(road: Road) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (block,) = re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
    script = road.home / "readme.sql"
    script.write_text(block)
    answers = _command("psql", "-At", "-v", "ON_ERROR_STOP=1", "-f", str(script)).splitlines()
    assert len(answers) > 10 + 20 + 5 + 9


def test_why_tells_the_rule_that_dropped_a_book_and_the_stage_where_it_is(road: Road, library: Library) -> None:
    found = next(k for k, c in library.kept.items() if library.statuses()[c] == "ok")
    missing = next(k for k, c in library.kept.items() if library.statuses()[c] == "missing")
    dropped = next(iter(library.dropped))
    assert f"{found} is on the road to its end" in _command("why", found)
    assert "could not be had: missing" in _command("why", missing)
    assert f"{dropped} left the road at the rule" in _command("why", dropped)


def test_the_doctor_finds_a_working_road_healthy(road: Road) -> None:
    assert "BAD" not in _command("doctor")


def test_an_error_is_one_sentence_with_the_way_out(road: Road) -> None:
    ran = subprocess.run([COMMAND, "similar", "OL999999999M"], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "book-search why OL999999999M" in ran.stderr


def test_the_search_is_a_resource_in_dagster(road: Road) -> None:
    clip, postgres = ClipResource(), DatabaseResource()
    assert len(BookSearch(clip=clip, postgres=postgres).search(Query(texts=["a red heart"]), 4).hits) == 4


def test_after_a_whole_road_no_sensor_asks_for_anything_until_the_model_is_another(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_dump, after_books = tick("new_dump", road.instance), tick("after_books", road.instance)

    assert (new_dump.keys, after_books.keys) == ([], [])
    assert "its books are chosen" in new_dump.skipped
    assert after_books.skipped == "all ranges are finished and searched"

    monkeypatch.setenv("BOOK_SEARCH_CROP", "pad")
    keys = road.instance.get_dynamic_partitions("cover_range")
    assert tick("after_books", road.instance).spans == [(keys[0], keys[-1])]


def test_a_new_dump_costs_what_changed_and_loses_what_is_gone(
    road: Road, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One book leaves; the others come again with a later date."""
    gone = next(key for key in library.kept if library.statuses()[library.kept[key]] == "ok")
    lines = tuple(line for line in library.lines["editions"] if f"/books/{gone}\t" not in line)
    later = replace(library, lines={**library.lines, "editions": lines}, dump_date=date(2026, 11, 30))
    road.server.content = content_of(later, tmp_path_factory.mktemp("later"), size=(60, 90))
    assert tick("new_dump", road.instance).keys == ["dump-2026-11-30-1"]
    road.server.forget()

    road.run()

    assert tick("new_dump", road.instance).keys == tick("after_books", road.instance).keys == []

    assert not [asked for asked in road.server.asked if asked.path.startswith("/b/id/")]
    assert dict(_rows(road, "select edition_key, cover_id from book")) == {
        key: cover for key, cover in library.kept.items() if key != gone
    }
    shared = library.kept[gone] in {cover for key, cover in library.kept.items() if key != gone}
    left = {cover for (cover,) in _rows(road, "select cover_id from cover_embedding")}
    assert (library.kept[gone] in left) == shared
