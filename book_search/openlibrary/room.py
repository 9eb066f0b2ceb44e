"""Whether the disk has room for a selection, or for a batch of covers. Knows what each keeps there, not how."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from book_search.openlibrary.lines import GZIP_MAGIC
from book_search.openlibrary.rules import Rule

TEXT_PER_PACKED_BYTE = 5  # real dumps are 4.5 to 5 times their gzip
KEPT_OF_FEW = 0.2  # bytes of scratch a byte of text; measured 0.10 with the default filter
KEPT_OF_MANY = 2.5  # the same of a filter that most editions pass; measured 1.95 where all do
COVER_BYTES = 40_000  # of a cover in the largest size: 36 kB is the mean that 2.5 GB for 70,000 give
NARROW = {"cover_id", "publish_year"}  # rules on these two leave few editions


class DiskFullError(RuntimeError):
    """Too little room on a disk; the message says how much is needed and where."""


def require_room(dumps: Mapping[str, Path | None], rules: Sequence[Rule], folder: Path) -> None:
    """Make sure that what a selection keeps on disk fits. Raises DiskFullError."""
    text = sum(_text_bytes(path) for path in dumps.values() if path is not None)
    few = {rule.shows for rule in rules} >= NARROW
    needed = int(text * (KEPT_OF_FEW if few else KEPT_OF_MANY))
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"choosing the books needs about {needed / 1e9:.1f} GB of scratch space in {folder}, where "
            f"{free / 1e9:.1f} GB are free; free some, or set BOOK_SEARCH_WORK to a folder on another disk"
        )


def require_room_for_covers(folder: Path, asked: int, kept: int, mean: float | None) -> None:
    """Make sure that the pictures of a batch fit, in parts and then once more in its file.

    Args:
        folder: where they are written.
        asked: covers that will be asked for.
        kept: bytes of the batch's file as it is, of which the new one is made before it goes.
        mean: bytes of a picture, where some of the batch are known.

    Raises:
        DiskFullError: they would not fit.
    """
    needed = int(2 * asked * (mean or COVER_BYTES) + kept)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if asked and needed > free:
        raise DiskFullError(
            f"{asked} covers need about {needed / 1e6:,.0f} MB in {folder}, where {free / 1e6:,.0f} MB are free; "
            f"free some, or set BOOK_SEARCH_HOME to a folder on another disk (BOOK_SEARCH_WORK, where HOME is on S3)"
        )


def _text_bytes(path: Path) -> int:
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return path.stat().st_size * (TEXT_PER_PACKED_BYTE if packed else 1)
