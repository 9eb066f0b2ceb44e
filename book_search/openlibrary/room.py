"""Whether the disk has room for a selection. Knows what one keeps there, by measurement; not how it works."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from book_search.openlibrary.lines import GZIP_MAGIC
from book_search.openlibrary.rules import Rule

TEXT_PER_PACKED_BYTE = 5  # real dumps are 4.5 to 5 times their gzip
KEPT_OF_FEW = 0.2  # bytes of scratch a byte of text; measured 0.10 with the default filter
KEPT_OF_MANY = 2.5  # the same of a filter that most editions pass; measured 1.95 where all do
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


def _text_bytes(path: Path) -> int:
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return path.stat().st_size * (TEXT_PER_PACKED_BYTE if packed else 1)
