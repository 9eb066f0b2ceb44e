"""The sensor `new_dump`: one run for a month's dumps, once they are whole; why none; and one more where one failed."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from book_search import schemas
from book_search.defs import attempts
from book_search.defs.sensors import dumps
from book_search.lake import open_lake
from book_search.openlibrary.catalogue import BOOKS_PATH, FUNNEL_PATH, RECORD_PATH
from book_search.openlibrary.dumps import DumpError
from book_search_tests.defs.dump_server import Published, dump_server
from book_search_tests.defs.ticking import Tick, fail, start, succeed, tick

JOB = "refresh_catalogue"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    """A server with the four dumps of October 2026."""
    with dump_server() as server:
        server.publish("2026-10-31")
        monkeypatch.setenv("BOOK_SEARCH_OPEN_LIBRARY_URL", server.url)
        monkeypatch.setenv("BOOK_SEARCH_HOME", str(tmp_path / "lake"))
        yield server


def _tick(instance: dg.DagsterInstance, cursor: str | None = None) -> Tick:
    return tick("new_dump", instance, cursor)


def _hold(instance: dg.DagsterInstance | None, tmp_path: Path, date: str) -> None:
    """Have the lake hold an editions dump of this date and the books chosen from it, and Dagster know of them."""
    lake = open_lake(str(tmp_path / "lake"))
    record = {"kind": "editions", "date": date, "path": "dumps/editions/here.txt.gz", "size": 5_000, "sha256": "00"}
    lake.write_bytes("dumps/editions/here.txt.gz", b"gzip")
    lake.write_bytes(
        "dumps/editions.json",
        json.dumps(record | {"source_url": "", "fetched_at": "2026-10-31T00:00:00+00:00"}).encode(),
    )
    lake.write_table(BOOKS_PATH, schemas.BOOKS.empty_table())
    lake.write_table(FUNNEL_PATH, schemas.FUNNEL.empty_table())
    made = {"path": BOOKS_PATH, "books": 1, "content_hash": "h", "dump_date": date, "identity": {"filter": {}}}
    lake.write_bytes(RECORD_PATH, json.dumps(made | {"changes": {}, "rejects": {}}).encode())
    if instance is not None:
        instance.report_runless_asset_event(dg.AssetMaterialization("book_rows"))


def test_a_new_dump_starts_one_run(instance: dg.DagsterInstance, published: Published) -> None:
    first = _tick(instance)
    again = _tick(instance, first.cursor)

    assert first.keys == ["dump-2026-10-31-1"]
    assert first.requests[0].tags["book_search/dump_date"] == first.cursor == "2026-10-31"
    assert again.keys == first.keys  # the same key, of which Dagster makes one run


def test_while_its_run_is_under_way_and_after_it_none_is_started(
    instance: dg.DagsterInstance, published: Published, tmp_path: Path
) -> None:
    run = start(instance, _tick(instance).requests[0], JOB)

    during = _tick(instance)
    _hold(instance, tmp_path, "2026-10-31")
    succeed(instance, run)
    after = _tick(instance)

    assert (during.keys, after.keys) == ([], [])
    assert run.run_id in during.skipped
    assert "its books are chosen" in after.skipped


def test_after_a_run_that_failed_one_more_is_started_and_no_third_beside_it(
    instance: dg.DagsterInstance, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(instance, start(instance, _tick(instance).requests[0], JOB))
    paused = _tick(instance)
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0 * attempts.FIRST_PAUSE)

    second = _tick(instance)
    start(instance, second.requests[0], JOB)

    assert (paused.keys, "did not do it; the next one is started after" in paused.skipped) == ([], True)
    assert second.keys == ["dump-2026-10-31-2"]
    assert _tick(instance).keys == []


def test_a_dump_that_fails_again_and_again_is_left_to_people(
    instance: dg.DagsterInstance, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0 * attempts.FIRST_PAUSE)
    for _ in range(attempts.MOST_ATTEMPTS):
        fail(instance, start(instance, _tick(instance).requests[0], JOB))

    assert (_tick(instance).keys, "start one by hand" in _tick(instance).skipped) == ([], True)

    published.publish("2026-11-30")
    assert _tick(instance).keys == ["dump-2026-11-30-1"]


def test_the_dump_that_we_have_costs_one_request_and_no_body(
    instance: dg.DagsterInstance, published: Published, tmp_path: Path
) -> None:
    _hold(instance, tmp_path, "2026-10-31")

    assert _tick(instance).keys == []
    assert [method for method, path in published.asked] == ["HEAD", "HEAD"]  # the second where the first one led


def test_a_lake_that_another_dagster_home_has_filled_is_made_known_to_this_one(
    instance: dg.DagsterInstance, published: Published, tmp_path: Path
) -> None:
    _hold(None, tmp_path, "2026-10-31")
    assert _tick(instance).keys == ["dump-2026-10-31-1"]


def test_a_dump_whose_run_succeeded_and_whose_books_are_gone_is_taken_again(
    instance: dg.DagsterInstance, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0 * attempts.FIRST_PAUSE)
    succeed(instance, start(instance, _tick(instance).requests[0], JOB))
    assert _tick(instance).keys == ["dump-2026-10-31-2"]


def test_a_new_dump_is_asked_for_without_its_body(instance: dg.DagsterInstance, published: Published) -> None:
    _tick(instance)
    assert {method for method, _ in published.asked} == {"HEAD"}


def test_a_dump_older_than_ours_is_skipped_with_the_reason(
    instance: dg.DagsterInstance, published: Published, tmp_path: Path
) -> None:
    _hold(instance, tmp_path, "2026-11-30")

    assert (_tick(instance).keys, "older than ours of 2026-11-30" in _tick(instance).skipped) == ([], True)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda each: each.dumps.pop("editions"), "no dump is published, or it was withdrawn"),
        (lambda each: each.dumps.pop("authors"), "there is no dump of authors"),
        (lambda each: each.dumps.pop("redirects"), "the dump of redirects is not published yet"),
        (lambda each: each.publish("2026-09-30", kinds=("works",)), "the newest dump of works is of 2026-09-30"),
        (lambda each: each.publish("2026-10-31", 20, ("editions",)), "the dump of editions of 2026-10-31 is empty: 20"),
        (lambda each: each.publish("2026-10-31", 45, ("authors",)), "the dump of authors of 2026-10-31 is empty: 45"),
    ],
)
def test_a_month_that_is_not_whole_is_skipped_with_the_reason_and_taken_once_it_is(
    instance: dg.DagsterInstance, published: Published, spoil: object, reason: str
) -> None:
    spoil(published)  # type: ignore[operator]

    skipped = _tick(instance)
    published.publish("2026-10-31")

    assert (skipped.keys, reason in skipped.skipped) == ([], True), skipped.skipped
    assert _tick(instance, skipped.cursor).keys == ["dump-2026-10-31-1"]


def test_dumps_of_different_days_of_one_month_are_one_month(instance: dg.DagsterInstance, published: Published) -> None:
    published.publish("2026-10-30", kinds=("redirects",))
    assert _tick(instance).keys == ["dump-2026-10-31-1"]


def test_a_catalogue_taken_by_hand_is_waited_for(instance: dg.DagsterInstance, published: Published) -> None:
    by_hand = start(instance, dg.RunRequest(), JOB)
    assert by_hand.run_id in _tick(instance).skipped


def test_a_run_that_a_person_cancelled_is_not_started_again(
    instance: dg.DagsterInstance, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE", 0 * attempts.FIRST_PAUSE)
    instance.report_run_canceled(start(instance, _tick(instance).requests[0], JOB))

    assert (_tick(instance).keys, "was cancelled" in _tick(instance).skipped) == ([], True)


@pytest.mark.parametrize("slow", ["editions", "works"])
def test_a_server_that_trickles_does_not_hold_the_tick(
    instance: dg.DagsterInstance, published: Published, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Each of its bytes comes within the socket's timeout: but for a limit of the whole the tick would never end."""
    published.trickling.add(slow)
    monkeypatch.setattr(dumps, "SECONDS", 0.5)

    if slow == "editions":
        with pytest.raises(DumpError, match="did not say within"):
            _tick(instance)
    else:
        assert "which dump of works is the newest" in _tick(instance).skipped


def test_a_server_that_does_not_answer_is_told_loudly(
    instance: dg.DagsterInstance, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OPEN_LIBRARY_URL", "http://127.0.0.1:9")
    with pytest.raises(DumpError, match=r"127\.0\.0\.1"):
        _tick(instance)


def test_a_user_without_a_contact_is_told_before_a_real_host_is_asked(
    instance: dg.DagsterInstance, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOK_SEARCH_OPEN_LIBRARY_URL", "https://openlibrary.org")
    monkeypatch.delenv("BOOK_SEARCH_CONTACT", raising=False)
    with pytest.raises(ValueError, match="BOOK_SEARCH_CONTACT"):
        _tick(instance)
