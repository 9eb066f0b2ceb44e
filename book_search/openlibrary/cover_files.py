"""The covers files of the lake: ledger rows and pictures of one archive batch, in one file.

A row that says `ok` and the picture it speaks of appear in the same rename, and every picture is kept once a file.
Knows nothing of how covers are had.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from book_search import schemas
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search.openlibrary.ledger import LedgerRow, from_table, to_table

ROWS_PER_GROUP = 256  # of a covers file: what a reader holds in memory with its pictures


@dataclass(frozen=True)
class CoverImage:
    """A picture, and one of the covers that show it."""

    cover_id: int
    sha256: str
    image: bytes


def covers_path(batch: str) -> str:
    """Where the covers of an archive batch lie in the lake: `covers/0014_6/0014_62.parquet`."""
    return f"covers/{batch[:-1]}/{batch}.parquet"


def read_ledger(lake: Lake, cover_range: CoverRange) -> pa.Table:
    """The ledger of a range by cover id, as schemas.LEDGER; no rows where nothing was fetched yet."""
    files = lake.names(f"covers/{cover_range.key}")
    tables = [lake.read_table(path, schemas.LEDGER.names).cast(schemas.LEDGER) for path in files]
    return pa.concat_tables(tables) if tables else schemas.LEDGER.empty_table()


def iter_images(lake: Lake, cover_range: CoverRange) -> Iterator[CoverImage]:
    """The pictures of a range, each different one once, a few hundred in memory at a time."""
    seen: set[str] = set()
    for path in lake.names(f"covers/{cover_range.key}"):
        with lake.parquet(path) as file:
            for part in file.iter_batches(ROWS_PER_GROUP, columns=["cover_id", "sha256", "image"]):
                for row in part.filter(part["image"].is_valid()).to_pylist():
                    if row["sha256"] not in seen:
                        seen.add(row["sha256"])
                        yield CoverImage(**row)


def forget_range(lake: Lake, cover_range: CoverRange) -> None:
    """Remove the covers of a range of which none is wanted any more."""
    for path in lake.names(f"covers/{cover_range.key}"):
        lake.delete(path)


@dataclass
class CoverFile:
    """A batch's file in memory.

    Attributes:
        path: in the lake.
        rows: by cover id.
        images: the bytes of every picture that a row shows, by sha256.
        changed: whether they differ from the file.
        saved: whether `save` has written.
    """

    path: str
    rows: dict[int, LedgerRow] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)
    changed: bool = False
    saved: bool = False

    @classmethod
    def read(cls, lake: Lake, batch: str) -> "CoverFile":
        """The file of an archive batch such as `0014_62`; without rows where there is none yet."""
        path = covers_path(batch)
        if not lake.exists(path):
            return cls(path)
        table = lake.read_table(path)
        pictures = table.filter(table["image"].is_valid())
        images = dict(zip(pictures["sha256"].to_pylist(), pictures["image"].to_pylist(), strict=True))
        return cls(path, {row.cover_id: row for row in from_table(table)}, images)

    def put(self, row: LedgerRow, image: bytes | None) -> None:
        """Take a new row in place of the cover's old one. A picture that is here is not given up for a failed try."""
        before = self.rows.get(row.cover_id)
        if before is not None and before.status == "ok" and row.status == "gave_up":
            return
        self.rows[row.cover_id] = row
        if row.sha256 is not None and image is not None:
            self.images.setdefault(row.sha256, image)
        if before is not None and before.sha256 != row.sha256:
            self._let_go()
        self.changed = True

    def keep_only(self, wanted: set[int]) -> int:
        """Drop the rows of all other ids, and the pictures that none of the rest shows; gives how many rows."""
        unwanted = self.rows.keys() - wanted
        for cover_id in unwanted:
            del self.rows[cover_id]
        if unwanted:
            self._let_go()
            self.changed = True
        return len(unwanted)

    def save(self, lake: Lake) -> None:
        """Replace the file whole, if anything changed; a batch without rows has none."""
        if not self.changed:
            return
        if self.rows:
            lake.write_table(self.path, to_table(self.rows.values(), self.images), row_group_size=ROWS_PER_GROUP)
        else:
            lake.delete(self.path)
        self.changed, self.saved = False, True

    def _let_go(self) -> None:
        shown = {row.sha256 for row in self.rows.values()}
        self.images = {sha256: image for sha256, image in self.images.items() if sha256 in shown}
