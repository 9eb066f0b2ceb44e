"""The generated dumps are dumps: whole gzips of the size asked for, the same from one seed, read as real ones are."""

import gzip
import json
from datetime import date
from pathlib import Path

from book_search.openlibrary.rules import CatalogueFilter
from book_search_tests.benchmarks.generate_dumps import DUMP_DATE, generate_dumps
from book_search_tests.openlibrary.test_rules import assert_same


def test_generated_dumps_give_the_books_that_plain_python_chooses(tmp_path: Path) -> None:
    dumps = generate_dumps(tmp_path / "dumps", 3_000_000)

    books = assert_same(dict(dumps.paths), date.fromisoformat(DUMP_DATE), CatalogueFilter(), tmp_path / "work")

    assert books > 5


def test_a_generated_dump_has_the_size_and_the_shares_asked_for(tmp_path: Path) -> None:
    dumps = generate_dumps(tmp_path, 3_000_000)

    text = gzip.decompress(dumps.paths["editions"].read_bytes())
    records = [json.loads(line.split(b"\t")[4]) for line in text.splitlines()]

    assert len(text) == dumps.text_bytes["editions"]
    assert 2_500_000 < len(text) < 3_500_000
    assert 700 < len(text) / len(records) < 1_200
    assert 0.2 < sum("covers" in record for record in records) / len(records) < 0.45
    assert all(gzip.decompress(path.read_bytes()) for path in dumps.paths.values())


def test_the_same_seed_writes_the_same_dumps(tmp_path: Path) -> None:
    first = generate_dumps(tmp_path / "first", 500_000, seed=7)
    second = generate_dumps(tmp_path / "second", 500_000, seed=7)

    assert [path.read_bytes() for path in first.paths.values()] == [path.read_bytes() for path in second.paths.values()]
