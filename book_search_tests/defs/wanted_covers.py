"""A lake whose books want one cover of each of some ranges, and what a test puts into it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from book_search import schemas
from book_search.cover_ranges import CoverRange, batch_key
from book_search.defs.partitions import register_ranges
from book_search.lake import Lake, open_lake
from book_search.openlibrary.catalogue import BOOKS_PATH
from book_search.openlibrary.cover_batch import CoverFile
from book_search.openlibrary.ledger import LedgerRow, Status
from book_search.sample import tiny_clip

KEYS = ("0009_9", "0012_3", "0014_6", "0014_7")
TINY = str(Path(next(iter(tiny_clip.__path__))))


def settings_of(folder: Path) -> dict[str, str]:
    """The environment in which everything finds the lake, and a model."""
    return {"BOOK_SEARCH_HOME": str(folder / "lake"), "BOOK_SEARCH_MODEL": TINY}


def chosen(instance: dg.DagsterInstance, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose books want the first cover of each range of KEYS, none asked for yet; the settings name it."""
    for name, value in settings_of(folder).items():
        monkeypatch.setenv(name, value)
    lake = lake_in(folder)
    choose_books(lake, instance, KEYS)
    return lake


def choose_books(lake: Lake, instance: dg.DagsterInstance, keys: Sequence[str], first: int = 0) -> None:
    """Have the books want the cover `first` of each range, and Dagster know so."""
    ids = [CoverRange.parse(key).first + first for key in keys]
    books = [{"edition_key": f"OL{i}M", "title": "t", "content_hash": "h", "cover_id": i} for i in ids]
    lake.write_table(BOOKS_PATH, pa.Table.from_pylist(books, schema=schemas.BOOKS))
    register_ranges(instance, [CoverRange.parse(key) for key in keys])
    for asset in ("books", "book_rows"):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset))


def settle(lake: Lake, key: str, status: Status = "missing", next_try: datetime | None = None, first: int = 0) -> None:
    """Have the ledger say how asking for a range's cover went."""
    cover_id = CoverRange.parse(key).first + first
    row = LedgerRow(cover_id, status, 404, 1, next_try, None, None, None, None, "", datetime.now(UTC))
    with CoverFile.open(lake, batch_key(cover_id)) as file:
        file.put(row, None)


def lake_in(folder: Path) -> Lake:
    """The lake of `settings_of`."""
    return open_lake(str(folder / "lake"))
