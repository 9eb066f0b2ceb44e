"""Reading a dump's lines: every one, with its number, however it is packed; and never a damaged file in silence."""

import gzip
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from book_search.openlibrary import lines
from book_search.openlibrary.ahead import ahead
from book_search.openlibrary.lines import DamagedDumpError, LineReader

REST = "\t2\t3\t4\t5"  # of a line: the columns after its first


def dump(firsts: Iterable[str]) -> bytes:
    """Lines with these first columns."""
    return "".join(f"{first}{REST}\n" for first in firsts).encode()


def read(path: Path, containing: tuple[bytes, ...] | None = None) -> tuple[LineReader, list[tuple[int, str]]]:
    """The reader after its pass, and the first columns that it handed on."""
    reader = LineReader(path, containing=containing)
    table = reader.reader().read_all()
    table.validate(full=True)
    parts = table["part"].to_pylist()
    assert all("".join(rest) == f"{REST[1:]}\n" for _, *rest in parts)
    firsts = [first.removesuffix("\t") for first, *_ in parts]
    return reader, list(zip(table["line_number"].to_pylist(), firsts, strict=True))


@pytest.mark.parametrize("packed", [True, False])
def test_every_line_is_handed_on_with_its_number(tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_SIZE", 100)
    monkeypatch.setattr(lines, "READ_SIZE", 37)
    monkeypatch.setattr(lines, "PIECE_SIZE", 60)
    firsts = [f"{'x' * (n % 150)} é {n}" for n in range(500)] + ["no newline at the end"]
    content = dump(firsts)[:-1]
    path = tmp_path / "dump"
    path.write_bytes(gzip.compress(content) if packed else content)

    reader, handed = read(path)

    assert handed == list(enumerate(firsts, 1))
    assert reader.lines == 501


def test_a_gzip_of_several_members_with_padding_is_one_dump(tmp_path: Path) -> None:
    path = tmp_path / "dump.gz"
    path.write_bytes(
        gzip.compress(dump(["one"])) + bytes(12) + gzip.compress(b"") + gzip.compress(dump(["two"])) + bytes(512)
    )

    assert [line for _, line in read(path)[1]] == ["one", "two"]


@pytest.mark.parametrize("damage", ["cut", "flip", "cut in the end mark", "checksum"])
def test_a_damaged_gzip_is_noticed(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(dump(f"line {n * n}" for n in range(50_000)))
    middle = len(whole) // 2
    path = tmp_path / "dump.gz"
    path.write_bytes(
        {
            "cut": whole[:middle],
            "flip": whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 4]) + whole[middle + 4 :],
            "cut in the end mark": whole[:-3],
            "checksum": whole[:-8] + bytes(4) + whole[-4:],
        }[damage]
    )
    reader = LineReader(path)

    with pytest.raises(Exception, match="damaged"):
        reader.reader().read_all()

    assert isinstance(reader.failure, DamagedDumpError)


def test_a_line_without_end_costs_no_memory_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_SIZE", 100)
    monkeypatch.setattr(lines, "READ_SIZE", 50)
    monkeypatch.setattr(lines, "LONGEST_LINE", 300)
    path = tmp_path / "dump"
    path.write_bytes(dump(["one"]) + b"x" * 5_000 + b"\n" + dump(["three"]))

    reader, handed = read(path)

    assert handed == [(1, "one"), (3, "three")]
    assert [(reject.line_number, reject.reason) for reject in reader.rejects] == [(2, "longer than 300 bytes")]


def test_a_line_that_is_not_utf8_is_set_aside_and_its_neighbours_are_not(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(dump(["é"]) + b"ab\xff\t2\t3\t4\t5\n" + dump(["three"]))

    reader, handed = read(path)

    assert handed == [(1, "é"), (3, "three")]
    assert [(reject.line_number, reject.reason) for reject in reader.rejects] == [(2, "not UTF-8 at byte 2")]


def test_only_the_lines_asked_for_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_SIZE", 50)
    monkeypatch.setattr(lines, "READ_SIZE", 20)
    path = tmp_path / "dump"
    path.write_bytes(dump(f"line {n}" for n in range(100)))

    reader, handed = read(path, (b"ne 37", b"ne 99"))

    assert handed == [(38, "line 37"), (100, "line 99")]
    assert reader.lines == 100


def test_a_line_of_too_few_columns_is_set_aside_and_its_neighbours_are_not(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(dump(["one"]) + b"two\t2\n\n" + dump(["four"]) + b"a\tb\tc\td\te\tf\n")

    reader, handed = read(path)

    assert handed == [(1, "one"), (4, "four")]
    assert [(reject.line_number, reject.reason) for reject in reader.rejects] == [
        (2, "2 columns, not 5"),
        (3, "1 columns, not 5"),
        (5, "6 columns, not 5"),
    ]


def test_columns_that_only_add_up_to_whole_lines_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(b"a\tb\tc\td\n" + b"a\tb\tc\td\te\tf\n" + dump(["three"]))

    reader, handed = read(path)

    assert handed == [(3, "three")]
    assert len(reader.rejects) == 2


def test_a_consumer_that_stops_ends_the_thread_that_works_ahead() -> None:
    def numbers() -> Iterator[int]:
        yield from range(1_000_000)

    made = ahead(numbers(), 2)
    assert next(made) == 0

    made.close()  # type: ignore[attr-defined]  # a generator

    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
