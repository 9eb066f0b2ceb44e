"""Dagster's own pages, seen in a real browser: the graph, an asset with its pictures, the ranges, the automation.

Skipped where no Chromium is installed (`apt-get install chromium`); nothing is downloaded. Where
SCREENSHOTS names a folder, what was seen is kept there.
"""

import os
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sysconfig import get_path

import pytest

from book_search.defs.build import build_definitions
from book_search_tests.road.conftest import Road
from book_search_tests.ui.chromium import PATIENCE, NothingThereError, Page, browsing, find_chromium, started

WEBSERVER = Path(get_path("scripts")) / "dagster-webserver"
GROUPS = ("open_library", "catalogue", "covers", "search", "evaluation")
# The widths of the pictures that metadata hold, once all of them are there.
WIDTHS = """(found => found.length && found.every(width => width > 0) && found)(
    [...document.images].filter(each => each.src.startsWith('data:')).map(each => each.naturalWidth))"""
WHITE = 6_000  # bytes: a screenshot of nothing is smaller


@dataclass(frozen=True)
class Pages:
    """Dagster's pages in a browser."""

    url: str
    page: Page
    kept: Path

    def open(self, path: str, *shown: str) -> Page:
        """Go to a page and wait until it shows all of these."""
        self.page.open(f"{self.url}{path}")
        self.page.wait_for_text(*shown)
        return self.page

    def keep(self, name: str) -> None:
        """A screenshot of what the window shows; fails where that is nothing."""
        file = self.kept / f"{name}.png"
        self.page.picture(file)
        assert file.stat().st_size > WHITE


@pytest.fixture(scope="module")
def pages(shown_road: Road, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A browser on a Dagster that shows the small library's road."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    folder = tmp_path_factory.mktemp("pages")
    kept = Path(os.environ.get("SCREENSHOTS", folder / "screenshots"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(WEBSERVER), "-m", "book_search.definitions", "-h", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with started(command, dict(os.environ), folder / "webserver.log"):
        _wait_for(f"{url}/server_info", folder / "webserver.log")
        with browsing(program, folder / "profile") as page:
            yield Pages(url, page, kept)


def test_the_graph_shows_every_group_of_the_road(pages: Pages) -> None:
    pages.open("/asset-groups", *GROUPS)
    pages.keep("graph")


def test_the_graph_of_a_group_shows_its_assets(pages: Pages) -> None:
    pages.open("/locations/book_search.definitions/asset-groups/covers/lineage", "cover_embeddings", "cover_tags")
    pages.keep("group-covers")


def test_the_page_of_an_asset_shows_its_metadata_its_columns_and_its_checks(pages: Pages) -> None:
    page = pages.open("/assets/books", "left_of_dump", "is fiction", "editions_per_second", "edition_key")
    pages.keep("books")
    assert "Row count" in page.text()

    pages.open("/assets/books?view=checks", "keys", "in_range", "usual_number")
    pages.keep("books-checks")


def test_a_range_of_covers_shows_its_contact_sheet(pages: Pages, shown_road: Road) -> None:
    key = shown_road.instance.get_dynamic_partitions("cover_range")[0]
    page = pages.open(f"/assets/covers?view=partitions&partition={key}", "some_covers", "covers_per_second", "ledger")
    pages.keep("covers-partition")

    page.click("[Show Markdown]")

    (width,) = page.wait_for(WIDTHS, "picture in the dialog")
    assert width >= 56
    pages.keep("contact-sheet")


def test_the_partitions_page_shows_every_range_as_materialized(pages: Pages, shown_road: Road) -> None:
    keys = shown_road.instance.get_dynamic_partitions("cover_range")
    pages.open("/assets/covers?view=partitions", *keys, f"Materialized ({len(keys)})", "Failed (0)", "Missing (0)")
    pages.keep("covers-partitions")


@pytest.mark.parametrize(
    ("path", "entry", "place"),
    [
        ("/assets/search_index", "growth", 0),
        ("/assets/relevance_report", "report", 0),
        ("/assets/relevance_report", "history", 1),
    ],
    ids=["growth", "report", "history"],
)
def test_plots_are_drawn_in_place(pages: Pages, path: str, entry: str, place: int) -> None:
    page = pages.open(path, entry, "psql")

    page.click("[Show Markdown]", place)

    widths = page.wait_for(WIDTHS, "plot in the dialog")
    assert all(width > 300 for width in widths)
    pages.keep(f"plot-{entry}")


def test_probabilities_of_tags_are_drawn_as_histograms(pages: Pages, shown_road: Road) -> None:
    key = shown_road.instance.get_dynamic_partitions("cover_range")[0]
    page = pages.open(f"/assets/cover_tags?view=partitions&partition={key}", "probabilities", "commonest")

    page.click("[Show Markdown]")

    assert page.wait_for(WIDTHS, "histogram in the dialog")[0] > 300
    pages.keep("tags-histogram")


def test_dagster_draws_numbers_over_the_runs(pages: Pages) -> None:
    page = pages.open("/assets/book_rows", "rows_per_second", "Plots")
    page.click("Plots")
    page.wait_for("document.querySelectorAll('canvas').length", "plot over time")
    pages.keep("book-rows-plots")


def test_the_automation_page_lists_every_sensor_and_schedule(pages: Pages) -> None:
    repository = build_definitions().get_repository_def()
    sensors = [sensor.name for sensor in repository.sensor_defs]
    schedules = [schedule.name for schedule in repository.schedule_defs]
    pages.open("/automation", *sensors, *schedules)
    pages.keep("automation")


def test_the_runs_page_shows_that_all_ended_well(pages: Pages) -> None:
    page = pages.open("/runs", "refresh_catalogue", "Success")
    pages.keep("runs")
    assert not re.search(r"\bFailure\b", page.text())


def _wait_for(url: str, log: Path) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.2)
    raise NothingThereError(f"{url} does not answer: {log.read_text()[-2000:]}")
