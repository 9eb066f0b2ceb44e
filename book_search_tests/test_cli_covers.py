"""`book-search covers`: the plan tells what fetching would do, and retrying asks for what it names and nothing else."""

import json
import os
import subprocess
import sysconfig
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from book_search.cli.main import cli
from book_search.cli.road import covers_left
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake, open_lake
from book_search.openlibrary.catalogue import BOOKS_PATH
from book_search.openlibrary.covers import Fetching, fetch_range
from book_search.openlibrary.http import PoliteClient, user_agent
from book_search.sample.server import BLANK, Content, SampleServer
from book_search.schemas import BOOKS
from book_search_tests.openlibrary.test_covers import jpeg

COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"
DENSE, THIN = 14_620_000, 9_120_000


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose books want 2,500 covers side by side, and 40 far apart."""
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))
    lake = open_lake(str(tmp_path))
    choose(lake, [*range(DENSE, DENSE + 2500), *range(THIN, THIN + 40)])
    return lake


def choose(lake: Lake, cover_ids: list[int]) -> None:
    books = [{"edition_key": f"OL{i}M", "title": "t", "content_hash": "h", "cover_id": i} for i in cover_ids]
    lake.write_table(BOOKS_PATH, pa.Table.from_pylist(books, schema=BOOKS))


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["covers", *arguments])


def fetch(lake: Lake, server: SampleServer, ids: list[int]) -> None:
    with PoliteClient(user_agent(None), server.url, requests_per_minute=60_000, backoff=0.01) as client:
        fetch_range(lake, CoverRange.of(ids[0]), ids, Fetching(client, server.url, "L"))


def test_the_plan_names_ranges_roads_and_sums(chosen: Lake) -> None:
    shown = ask("plan")

    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.output.splitlines() if "│" in line]
    cells = {line.split("│")[1].strip(): [each.strip() for each in line.split("│")[2:-1]] for line in lines}
    assert cells["0009_1"] == ["40", "0", "40", "1 by id", "80", "0.0", "0.0"]
    assert cells["0014_6"] == ["2,500", "0", "2,500", "1 by zips' members", "13", "0.1", "0.0"]
    assert cells["as planned"] == ["2,540", "93", "0.1", "0.0"]
    assert cells["all by id"] == ["2,540", "5,080", "0.1", "0.4"]
    assert cells["all by whole zips, where there are any"] == ["2,540", "4", "0.7", "0.1"]
    assert "2,540 covers wanted, 0 settled by the ledger" in shown.output
    assert "100 requests a minute, size L" in shown.output


def test_the_plan_as_json_is_a_line_a_batch(chosen: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_COVERS_ROAD", "bulk_whole")
    thin, dense = map(json.loads, ask("plan", "--json").output.splitlines())

    assert (thin["batch"], thin["left"], thin["road"]) == ("0009_12", 40, "bulk_whole")
    assert (dense["batch"], dense["wanted"], dense["requests"]) == ("0014_62", 2500, 2)


def test_the_plan_counts_what_is_stored_and_what_the_metadata_dump_settles(
    chosen: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = Path(chosen.root) / "metadata.txt"
    dump.write_text(f"{THIN + 39}\t500\t500\t2020-01-01\n{DENSE + 1}\t1\t1\t2020-01-01\n")
    monkeypatch.setenv("BOOK_SEARCH_COVERS_METADATA", str(dump))
    with SampleServer(Content(date(2026, 10, 31), {}, {})) as server:
        fetch(chosen, server, list(range(THIN, THIN + 30)))

    thin, dense = map(json.loads, ask("plan", "--json").output.splitlines())

    assert (thin["settled"], thin["settled_by_dump"], thin["left"]) == (30, 9, 1)
    assert (dense["settled"], dense["settled_by_dump"], dense["left"]) == (0, 2, 2498)


def test_a_plan_before_the_books_says_how_to_come_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))
    shown = ask("plan")
    assert shown.exit_code == 1
    assert "no books are chosen yet: book-search run" in shown.output


def test_an_unknown_status_is_told_with_the_known_ones(chosen: Lake) -> None:
    shown = ask("retry", "--status", "gone")
    assert isinstance(shown.exception, ValueError)
    assert "gave_up" in str(shown.exception)


def test_retrying_asks_for_the_named_statuses_alone(tmp_path: Path) -> None:
    covers: dict[int, bytes | int] = {THIN: 404, THIN + 1: BLANK, THIN + 2: jpeg(1), THIN + 3: b"<html>"}
    lake = open_lake(str(tmp_path))
    choose(lake, list(covers))
    with SampleServer(Content(date(2026, 10, 31), {}, covers)) as server:
        fetch(lake, server, list(covers))
        covers[THIN + 3] = jpeg(2)
        server.forget()
        environment = {**os.environ, **_settings(tmp_path, server)}
        environment.pop("DAGSTER_HOME", None)

        def retry(status: str) -> str:
            command = [str(COMMAND), "covers", "retry", "--status", status]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stdout + ran.stderr
            return ran.stdout

        said = retry("not_an_image,placeholder")
        assert sorted(each.path for each in server.asked) == [f"/b/id/{THIN + 1}-L.jpg", f"/b/id/{THIN + 3}-L.jpg"]
        assert "2 covers are asked for again; ranges: 1" in said
        assert "1 covers are not_an_image or placeholder now" in said
        assert retry("gave_up") == "no cover is gave_up\n"


def test_a_run_tells_at_its_end_what_is_left_and_when_to_run_again(
    chosen: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert covers_left() == "2,540 covers are left to be asked for: run this again"

    now = datetime.now(UTC)
    monkeypatch.setenv("BOOK_SEARCH_OFF_PEAK", f"{(now.hour + 2) % 24:02}:00-{(now.hour + 3) % 24:02}:00")
    assert covers_left().endswith(f"run this again after {now + timedelta(hours=2):%Y-%m-%d %H}:00 UTC")

    choose(chosen, [THIN, THIN + 1])
    with SampleServer(Content(date(2026, 10, 31), {}, {THIN: 404, THIN + 1: BLANK})) as server:
        fetch(chosen, server, [THIN, THIN + 1])
    assert covers_left().startswith("1 covers could not be had now and are asked for again by runs after ")

    choose(chosen, [THIN + 1])
    assert covers_left() == ""


def test_before_the_books_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path))
    assert covers_left() == ""


def _settings(home: Path, server: SampleServer) -> dict[str, str]:
    addresses = ("OPEN_LIBRARY_URL", "COVERS_URL", "ARCHIVE_URL")
    return {
        "BOOK_SEARCH_HOME": str(home),
        "BOOK_SEARCH_REQUESTS_PER_MINUTE": "60000",
        **{f"BOOK_SEARCH_{name}": server.url for name in addresses},
    }
