"""The ledger's rows: their Arrow form, and when a cover is asked for again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from book_search import schemas
from book_search.openlibrary.ledger import (
    STATUSES,
    LedgerRow,
    from_table,
    is_due,
    known_statuses,
    next_try,
    replaces,
    summary,
    to_table,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OK = LedgerRow(14_600_001, "ok", 200, 1, None, 5, 180, 270, "aa", "http://x/1", NOW)
MISSING = LedgerRow(14_600_002, "missing", 404, 1, NOW, 9, None, None, None, "http://x/2", NOW)


def test_rows_come_back_from_arrow_as_they_went() -> None:
    rows = [MISSING, OK, replace(OK, cover_id=14_600_000, sha256="bb")]

    table = to_table(rows)

    assert table.schema == schemas.LEDGER
    assert from_table(table) == rows


def test_a_later_row_takes_the_place_of_another_but_a_failed_try_never_that_of_a_picture() -> None:
    gave_up = replace(OK, status="gave_up", http_status=503, sha256=None)

    assert replaces(OK, None)
    assert replaces(OK, gave_up)
    assert replaces(MISSING, OK)
    assert replaces(replace(OK, status="placeholder", sha256=None), OK)
    assert not replaces(gave_up, OK)
    for status in ("not_an_image", "undecodable", "too_large", "blocked_host"):
        assert not replaces(replace(OK, status=status, sha256=None), OK)


@pytest.mark.parametrize(
    ("status", "wait"),
    [
        ("gave_up", timedelta(hours=1)),
        ("not_an_image", timedelta(days=7)),
        ("missing", timedelta(days=30)),
        ("ok", None),
        ("placeholder", None),
        ("too_large", None),
        ("undecodable", None),
        ("blocked_host", None),
    ],
)
def test_what_may_pass_is_asked_again_and_the_rest_is_settled(status: str, wait: timedelta | None) -> None:
    row = replace(MISSING, status=status, next_try=next_try(status, NOW))  # type: ignore[arg-type]

    if wait is None:
        assert not is_due(row, NOW + timedelta(days=3650))
    else:
        assert not is_due(row, NOW + wait - timedelta(seconds=1))
        assert is_due(row, NOW + wait)


def test_a_cover_is_not_asked_again_before_the_host_allowed() -> None:
    assert next_try("gave_up", NOW, retry_after=7200) == NOW + timedelta(hours=2)
    assert next_try("gave_up", NOW, retry_after=5) == NOW + timedelta(hours=1)


def test_the_summary_counts_each_status() -> None:
    counted = summary([MISSING, OK, replace(OK, cover_id=7)])

    assert counted == {"ok": 2, "missing": 1}
    assert set(counted) <= set(STATUSES)


def test_a_status_that_does_not_exist_is_refused_with_those_that_do() -> None:
    assert known_statuses(["not_an_image", "gave_up"]) == ("not_an_image", "gave_up")
    with pytest.raises(ValueError, match="lost is no status of a cover; they are ok, missing"):
        known_statuses(["lost"])
