"""A cover's picture out of the lake, by its id. Knows where a picture lies in a covers file; nothing of the web."""

from dataclasses import dataclass

import pyarrow.compute as pc

from book_search.cover_ranges import CoverRange, batch_key
from book_search.lake import Lake

# The first bytes of what the lake keeps (see openlibrary.images), and how a browser is told.
MEDIA_TYPES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True)
class Shelf:
    """Where a cover's picture lies: the file, and the row that holds its bytes."""

    path: str
    row: int
    sha256: str


def find_cover(lake: Lake, cover_id: int) -> Shelf | None:
    """Where the picture of a cover lies, or None where the lake has none. Reads two small columns of one file."""
    path = f"covers/{CoverRange.of(cover_id).key}/{batch_key(cover_id)}.parquet"
    if not lake.exists(path):
        return None
    rows = lake.read_table(path, ["cover_id", "sha256"])
    own = pc.index(rows["cover_id"], cover_id).as_py()
    sha256 = rows["sha256"][own].as_py() if own >= 0 else None
    if sha256 is None:
        return None
    # The bytes lie beside the first row of their sha256: many covers of one batch may show one picture.
    return Shelf(path, pc.index(rows["sha256"], sha256).as_py(), sha256)


def read_picture(lake: Lake, shelf: Shelf) -> bytes | None:
    """The bytes that lie there, read with their row group alone; None where the file was replaced meanwhile."""
    if not lake.exists(shelf.path):
        return None
    with lake.parquet(shelf.path) as file:
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if shelf.row < first + rows:
                held = file.read_row_group(group, columns=["sha256", "image"]).slice(shelf.row - first, 1).to_pylist()
                image: bytes | None = held[0]["image"] if held[0]["sha256"] == shelf.sha256 else None
                return image
            first += rows
    return None


def media_type(picture: bytes) -> str:
    """The MIME type of a picture, by its own first bytes."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    found = (name for magic, name in MEDIA_TYPES.items() if picture.startswith(magic))
    return next(found, "application/octet-stream")
