"""The dump of covers' metadata: what its lines say, in whatever shape they come, and what may be concluded."""

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from book_search.lake import Lake
from book_search.openlibrary.dumps import DumpError
from book_search.openlibrary.http import user_agent
from book_search.openlibrary.ledger import ASKED_AGAIN
from book_search.openlibrary.metadata_dump import known_covers, read_metadata
from book_search.sample.server import Content, SampleServer

LINES = """\
8000001\t1\t1\t2010-05-17
8000002\t320\t500\t2010-05-17
8000003\t\t\t2010-05-17
8000005\t500\t9\t2010-05-17
8000006\t0\t0\t2010-05-17
14620000\t10\t10\t2026-10-30
"""
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def write(folder: Path, text: str, packed: bool = True) -> Path:
    path = folder / ("dump.txt.gz" if packed else "dump.txt")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_tiny_and_absent_covers_are_told_from_those_to_ask_for(tmp_path: Path, packed: bool) -> None:
    wanted = [8_000_001, 8_000_002, 8_000_003, 8_000_004, 8_000_005, 8_000_006, 9_000_000, 14_620_000, 14_620_001]

    known = read_metadata(write(tmp_path, LINES, packed), wanted, "https://dump")

    assert {cover_id: known.verdict(cover_id) for cover_id in wanted} == {
        8_000_001: "placeholder",
        8_000_002: None,
        8_000_003: None,  # Open Library never looked
        8_000_004: "missing",
        8_000_005: "placeholder",
        8_000_006: None,
        9_000_000: None,  # nothing of its ten thousand is in the dump, which may be cut out of a larger one
        14_620_000: None,
        14_620_001: None,  # newer than the dump
    }


def test_a_row_says_that_the_dump_settled_it(tmp_path: Path) -> None:
    known = read_metadata(write(tmp_path, LINES), [8_000_001, 8_000_004], "https://dump")

    tiny, absent = known.settle([8_000_001, 8_000_004], {}, NOW)

    assert (tiny.status, tiny.width, tiny.height, tiny.next_try) == ("placeholder", 1, 1, None)
    assert (absent.status, absent.next_try) == ("missing", NOW + ASKED_AGAIN["missing"])
    for row in (tiny, absent):
        assert (row.http_status, row.attempts, row.bytes, row.sha256) == (None, 0, None, None)
        assert (row.source_url, row.fetched_at) == ("https://dump", NOW)


@pytest.mark.parametrize(
    "text",
    [
        "id\twidth\theight\tcreated\n" + LINES,  # a header
        LINES.replace("\n", "\r\n"),
        LINES.replace("\t2010-05-17", ""),  # three columns
        LINES.replace("\n", "\tb\tmore\n"),  # six
        LINES.replace("8000003\t\t", "8000003\t\\N\t\\N"),  # NULL as COPY writes it in its own format
        "\n".join(reversed(LINES.split("\n"))),
        LINES + 'no number\t1\t1\nx"y\t"z\n\n8000009\n',
    ],
    ids=["header", "crlf", "three columns", "six columns", "backslash n", "backwards", "rubbish"],
)
def test_other_shapes_of_the_dump_say_the_same(tmp_path: Path, text: str) -> None:
    wanted = range(8_000_001, 8_000_007)
    expected = read_metadata(write(tmp_path, LINES), wanted, "")

    assert read_metadata(write(tmp_path, text), wanted, "") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(LINES.encode())[:-9], "cut off|ends|damaged"),
        (gzip.compress(b""), "nothing"),
        (gzip.compress(b"<html>not now</html>\n"), "no line that begins with a cover's id"),
    ],
    ids=["cut off", "empty", "something else"],
)
def test_a_dump_that_is_none_settles_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "dump.txt.gz"
    path.write_bytes(content)
    with pytest.raises(DumpError, match=message):
        read_metadata(path, [8_000_001], "")


def test_a_dump_that_is_not_there_is_told_with_its_setting(lake: Lake) -> None:
    with pytest.raises(DumpError, match="BOOK_SEARCH_COVERS_METADATA"):
        known_covers(lake, "nowhere.txt.gz", user_agent(None), [1])


def test_the_published_dump_is_fetched_once_and_then_known(lake: Lake) -> None:
    content = Content(date(2026, 10, 31), {"covers_metadata": gzip.compress(LINES.encode())}, {})
    with SampleServer(content) as server:
        for address in (server.url, f"{server.url}/data/ol_dump_covers_metadata_latest.txt.gz"):
            known = known_covers(lake, address, user_agent(None), [8_000_001])
            assert known is not None
            assert known.verdict(8_000_001) == "placeholder"
            assert known.source_url.endswith("ol_dump_covers_metadata_2026-10-31.txt.gz")
        downloads = [each for each in server.asked if each.method == "GET" and each.status == 200]

        assert len(downloads) == 1
        server.forget()
        unasked = known_covers(lake, server.url, user_agent(None), [8_000_001], ask=False)
        assert server.asked == ()
    assert unasked == known


def test_nothing_is_kept_of_covers_that_are_to_be_asked_for(tmp_path: Path) -> None:
    lines = "".join(f"{cover_id}\t300\t500\t2010-05-17\n" for cover_id in range(1, 50_000))

    known = read_metadata(write(tmp_path, lines), [7, 49_999, 60_000], "")

    assert (known.verdict(7), known.verdict(49_999), known.verdict(60_000)) == (None, None, None)
    assert (list(known.absent), dict(known.tiny)) == ([], {})
