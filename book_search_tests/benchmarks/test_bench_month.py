"""A month later the road does what the month's changes cost and no more; where nothing changed it does nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from book_search.clip.zero_shot import load_facets
from book_search.sample.library import Library, plan_library
from book_search.sample.server import Faults
from book_search.sample.serving import content_of
from book_search_tests.benchmarks.month_work import Work, as_rows, least_work, run_counted
from book_search_tests.benchmarks.months import Month, next_month, same_month
from book_search_tests.database import open_folder  # noqa: F401 - a fixture
from book_search_tests.road.conftest import Road, served_road

SIZE = (60, 90)


@pytest.fixture(scope="module")
def library() -> Library:
    return plan_library(seed=9, kept=300, dropped=300)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def road(open_folder: Path, library: Library, drawn: Path) -> Iterator[Road]:  # noqa: F811
    with served_road(open_folder, "months", content_of(library, drawn, SIZE), Faults()) as road:
        road.run()
        yield road


def _publish(road: Road, month: Month, drawn: Path) -> None:
    road.server.content = content_of(month.library, drawn, SIZE)


def _figures(work: Work, least: Work) -> tuple[dict[str, int], dict[str, int]]:
    """Of what was done and of the least, all but the bytes of files, which hold other rows as well."""
    rows = [row for row in as_rows(work, least) if not row[0].startswith("bytes")]
    return {what: done for what, done, _ in rows}, {what: few for what, _, few in rows}


def test_the_same_dump_again_costs_nothing(road: Road) -> None:
    work = run_counted(road)

    done, nothing = _figures(work, Work())
    assert done == nothing
    assert work.dump_bytes == 0
    assert not any(work.file_bytes.values())


def test_a_newer_dump_of_the_same_content_costs_its_download(road: Road, library: Library, drawn: Path) -> None:
    month = same_month(library, days=10)
    _publish(road, month, drawn)

    work = run_counted(road)

    done, nothing = _figures(work, Work())
    assert done == nothing
    assert work.dump_bytes == sum(len(dump) for dump in road.server.content.dumps.values())
    assert not any(work.file_bytes.values())


def test_a_month_later_only_what_changed_is_asked_for_embedded_and_written(
    road: Road, library: Library, drawn: Path
) -> None:
    month = next_month(library)
    assert (len(month.changed), len(month.new), len(month.gone)) == (6, 3, 2)
    _publish(road, month, drawn)

    work = run_counted(road)

    done, least = _figures(work, least_work(month, road.home, len(load_facets())))
    assert done == least
