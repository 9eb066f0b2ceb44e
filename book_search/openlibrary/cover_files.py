"""The covers files of the lake: ledger rows and pictures of one archive batch, in one file a reader can rely on.

A row that says `ok` and the picture it speaks of appear in the same rename, and every picture is kept once a file,
beside the first cover that shows it. Knows where the files lie, their form, and how they are read; how a batch's file
comes about is `cover_batch`'s part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from book_search import schemas
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake


@dataclass(frozen=True)
class CoverImage:
    """A picture, and one of the covers that show it."""

    cover_id: int
    sha256: str
    image: bytes


def covers_path(batch: str) -> str:
    """Where the covers of an archive batch lie in the lake: `covers/0014_6/0014_62.parquet`."""
    return f"covers/{batch[:-1]}/{batch}.parquet"


def parts_folder(batch: str) -> str:
    """Where what came in of a range's batches waits until their files are made: `covers-parts/0014_6`."""
    return f"covers-parts/{batch[:-1]}"


def parts_of(lake: Lake, batch: str) -> list[str]:
    """The part files of an archive batch, oldest first; readers of covers do not look at them."""
    return [path for path in lake.names(parts_folder(batch)) if path.startswith(f"{parts_folder(batch)}/{batch}-")]


def batches_of(lake: Lake, cover_range: CoverRange) -> list[str]:
    """The archive batches of a range of which anything is kept, in order."""
    whole = [PurePosixPath(path).stem for path in lake.names(f"covers/{cover_range.key}")]
    parts = [PurePosixPath(path).stem.partition("-")[0] for path in lake.names(f"covers-parts/{cover_range.key}")]
    return sorted({*whole, *parts})


def ranges_kept(lake: Lake) -> list[CoverRange]:
    """The ranges of which anything is kept, lowest first."""
    keys = {PurePosixPath(each).name for top in ("covers", "covers-parts") for each in lake.folders(top)}
    return sorted(each for each in map(CoverRange.parse, keys) if batches_of(lake, each))


def read_ledger(lake: Lake, cover_range: CoverRange) -> pa.Table:
    """The ledger of a range by cover id, as schemas.LEDGER; no rows where nothing was fetched yet."""
    files = lake.names(f"covers/{cover_range.key}")
    tables = [lake.read_table(path, schemas.LEDGER.names).cast(schemas.LEDGER) for path in files]
    return pa.concat_tables(tables) if tables else schemas.LEDGER.empty_table()


def iter_images(lake: Lake, cover_range: CoverRange) -> Iterator[CoverImage]:
    """The pictures of a range, each different one once, those of one row group in memory at a time."""
    seen: set[str] = set()
    for path in lake.names(f"covers/{cover_range.key}"):
        with lake.parquet(path) as file:
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, columns=["cover_id", "sha256", "image"])
                for row in part.filter(part["image"].is_valid()).to_pylist():
                    if row["sha256"] not in seen:
                        seen.add(row["sha256"])
                        yield CoverImage(**row)


def forget_range(lake: Lake, cover_range: CoverRange) -> None:
    """Remove the covers of a range of which none is wanted any more, and what killed runs left of some."""
    for folder in (f"covers-parts/{cover_range.key}", f"covers/{cover_range.key}"):
        lake.sweep(f"{folder}/")
        for path in lake.names(folder):
            lake.delete(path)
