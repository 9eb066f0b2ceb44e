"""What must be taken down is gone after the next run: bytes, vectors, tags, rows; the rest stays as it was."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from book_search.index.connection import connect
from book_search.lake import open_lake
from book_search.openlibrary.deny_list import DEFAULT_PATH
from book_search.sample.library import Library, plan_library
from book_search.sample.serving import content_of
from book_search_tests.road.conftest import MakeRoad, Road


@pytest.fixture(scope="module")
def library() -> Library:
    return plan_library(seed=5, kept=20, dropped=20)


@pytest.fixture(scope="module")
def road(make_road: MakeRoad, library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    content = content_of(library, tmp_path_factory.mktemp("drawn"), size=(60, 90))
    with make_road("takedown", content) as road:
        road.run()
        yield road


def _rows(road: Road, query: str) -> list[tuple[object, ...]]:
    with connect(road.dsn) as connection:
        return connection.execute(query).fetchall()


def _in_lake(road: Road, folder: str) -> set[int]:
    lake = open_lake(str(road.home))
    files = [path for model in lake.folders(folder) for each in lake.folders(model) for path in lake.names(each)]
    return {cover_id for path in files for cover_id in lake.read_table(path, ["cover_id"])["cover_id"].to_pylist()}


def _pictures(road: Road) -> set[str]:
    lake = open_lake(str(road.home))
    files = [path for each in lake.folders("covers") for path in lake.names(each)]
    images = [image for path in files for image in lake.read_table(path, ["image"])["image"].to_pylist()]
    return {hashlib.sha256(image).hexdigest() for image in images if image is not None}


def test_what_is_denied_is_gone_after_the_next_run_and_nothing_else(road: Road, library: Library) -> None:
    shown = {row[0]: str(row[1]) for row in _rows(road, "select cover_id, sha256 from cover where status = 'ok'")}
    alone = [cover_id for cover_id, sha256 in shown.items() if list(shown.values()).count(sha256) == 1]
    of_edition = {cover_id: key for key, cover_id in library.kept.items()}
    denied, with_edition = alone[0], alone[-1]
    edition = of_edition[int(str(with_edition))]
    Path(road.home / DEFAULT_PATH).write_text(f"# takedowns\n{denied}\n{edition}\n")
    before = _rows(road, "select xmin::text, edition_key from book order by 2")
    road.server.forget()

    road.run()

    gone = {denied, with_edition}
    assert not [asked for asked in road.server.asked if asked.path.startswith("/b/id/")]
    assert _pictures(road) == set(shown.values()) - {shown[cover_id] for cover_id in gone}
    assert _in_lake(road, "embeddings") == _in_lake(road, "tags") == shown.keys() - gone
    assert {row[0] for row in _rows(road, "select cover_id from cover_embedding")} == shown.keys() - gone
    assert {row[0] for row in _rows(road, "select cover_id from cover_tag")} == shown.keys() - gone
    assert gone & {row[0] for row in _rows(road, "select cover_id from cover")} == set()
    books = dict(_rows(road, "select edition_key, cover_id from book"))
    assert books == {key: cover_id for key, cover_id in library.kept.items() if key != edition} | {
        of_edition[int(str(denied))]: None
    }
    after = _rows(road, "select xmin::text, edition_key from book order by 2")
    assert len(set(before) - set(after)) == 2
