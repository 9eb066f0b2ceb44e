"""Where a cover lies in the Internet Archive: item, zip and member, by its id and size, and which ids lie in none.

Knows names alone; nothing of requests and of what a zip holds.

The layout is that of Open Library's coverstore (`archive.py`, `code.py` and `README.md` there): from 8,000,000 on a
million covers make an item and ten thousand a zip, `l_covers_0014/l_covers_0014_62.zip/0014620000-L.jpg`; covers below
7,140,000 lie in older items of ten thousand each, `olcovers660/olcovers660-L.zip/6600000-L.jpg`. Members are stored
uncompressed.
"""

from dataclasses import dataclass

from book_search.cover_ranges import COVERS_PER_BATCH

OLDER_END = 7_140_000  # the first id that is in none of the items olcovers0 to olcovers713
# Ids whose zips were never uploaded: Open Library's issue 13287 (August 2026).
WITHOUT_ZIP = (range(6_000_000, 8_000_000),)
NEWEST_END = 15_000_000  # the first id after covers_0014, the newest item there is


@dataclass(frozen=True)
class ArchiveZip:
    """The zip of one archive batch.

    Attributes:
        url: where it is had; the archive redirects to the node that holds it.
        size: S, M or L.
        older: whether its members are named as in the `olcovers` items, without leading zeros.
    """

    url: str
    size: str
    older: bool

    def member(self, cover_id: int) -> str:
        """The name of a cover in the zip."""
        return f"{cover_id if self.older else f'{cover_id:010d}'}-{self.size}.jpg"

    def member_url(self, cover_id: int) -> str:
        """Where the archive serves this cover alone, taken out of the zip: what a redirect of a cover leads to."""
        return f"{self.url}/{self.member(cover_id)}"


def archive_zip(archive_url: str, batch: str, size: str) -> ArchiveZip:
    """The zip of a batch, whether it exists or not (see `has_zip`).

    Args:
        archive_url: such as https://archive.org.
        batch: such as `0014_62`.
        size: S, M or L.
    """
    number = _number(batch)
    older = number * COVERS_PER_BATCH < OLDER_END
    item = f"olcovers{number}" if older else f"{size.lower()}_covers_{batch[:4]}"
    name = f"{item}-{size}.zip" if older else f"{size.lower()}_covers_{batch}.zip"
    return ArchiveZip(f"{archive_url.rstrip('/')}/download/{item}/{name}", size, older)


def has_zip(batch: str) -> bool:
    """Whether the archive is known to hold the zips of a batch."""
    first = _number(batch) * COVERS_PER_BATCH
    return first < NEWEST_END and not any(first in ids for ids in WITHOUT_ZIP)


def is_redirected(batch: str, size: str) -> bool:
    """Whether the covers server answers with a redirect to the archive, so that each cover costs two requests.

    By coverstore's `code.py` it does so for all that has a zip, the older items' small sizes excepted.
    """
    return has_zip(batch) and (size == "L" or _number(batch) * COVERS_PER_BATCH >= OLDER_END)


def _number(batch: str) -> int:
    """How many batches come before this one."""
    millions, ten_thousands = batch.split("_")
    return int(millions) * 100 + int(ten_thousands)
