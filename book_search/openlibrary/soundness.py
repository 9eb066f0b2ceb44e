"""Whether what lies in the lake is what it should be: a dump as its record says, books as the filter wants them.

Looks and counts; what is to be done about a fault is for others to decide.
"""

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from book_search.lake import Lake
from book_search.openlibrary.catalogue import BOOKS_PATH, CatalogueRecord
from book_search.openlibrary.dumps import DumpRecord

PIECE = 1 << 20
# What the dumps' years and pages are read as: see year_of and pages_of in sql/macros.sql.
YEARS = (1400, 2099)
PAGES = (1, 99_999)


@dataclass(frozen=True)
class BooksLook:
    """What was found of the books.

    Attributes:
        books: rows.
        doubled: rows whose edition another row has too.
        without_key: rows without an edition or a title.
        years_out, pages_out: rows whose year or pages the filter does not want, or that no dump can have.
        such_as: an edition with a fault of the last two kinds; None where there is none.
    """

    books: int
    doubled: int
    without_key: int
    years_out: int
    pages_out: int
    such_as: str | None = None


def faults_of_dump(lake: Lake, dump: DumpRecord, read: bool) -> list[str]:
    """What of a dump's file is not as its record says; nothing where all is well.

    Args:
        read: whether its bytes are read, to compare the sha256; else only its size is looked at.
    """
    if not lake.exists(dump.path):
        return [f"{lake.uri(dump.path)} is not there"]
    size = lake.size(dump.path)
    if size != dump.size:
        return [f"{lake.uri(dump.path)} has {size:,} bytes, its record says {dump.size:,}"]
    if read and (found := _sha256(lake, dump.path)) != dump.sha256:
        return [f"{lake.uri(dump.path)} has the sha256 {found}, its record says {dump.sha256}"]
    if dump.published and dump.lines == 0:
        return [f"{lake.uri(dump.path)} has no line"]
    return []


def look_at_books(lake: Lake, catalogue: CatalogueRecord) -> BooksLook:
    """Look at every book's key, year and pages.

    Args:
        catalogue: of the lake's books; its filter says which years and pages are wanted.
    """
    table = lake.read_table(BOOKS_PATH, ["edition_key", "title", "publish_year", "pages"])
    keys = table["edition_key"]
    years, pages = _years(catalogue), _pages(catalogue)
    wrong_years = _outside(table["publish_year"], *years, needed=catalogue.filter["years"] is not None)
    wrong_pages = _outside(table["pages"], *pages, needed=catalogue.filter["pages_over"] is not None)
    faulty = keys.filter(pc.or_(wrong_years, wrong_pages))
    return BooksLook(
        books=len(keys),
        doubled=len(keys) - pc.count_distinct(keys, mode="all").as_py(),
        without_key=_count(pc.or_(_blank(keys), _blank(table["title"]))),
        years_out=_count(wrong_years),
        pages_out=_count(wrong_pages),
        such_as=faulty[0].as_py() if len(faulty) else None,
    )


def _years(catalogue: CatalogueRecord) -> tuple[int, int]:
    wanted = catalogue.filter["years"]
    return YEARS if wanted is None else (catalogue.dump_date.year - wanted, catalogue.dump_date.year)


def _pages(catalogue: CatalogueRecord) -> tuple[int, int]:
    over = catalogue.filter["pages_over"]
    return PAGES if over is None else (max(over + 1, PAGES[0]), PAGES[1])


def _outside(numbers: pa.ChunkedArray, low: int, high: int, needed: bool) -> pa.ChunkedArray:
    """Which are outside; those that are not known are, where the filter asked for them."""
    return pc.fill_null(pc.or_(pc.less(numbers, low), pc.greater(numbers, high)), needed)


def _blank(words: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(words, ""), True)


def _count(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags, min_count=0).as_py())


def _sha256(lake: Lake, path: str) -> str:
    digest = hashlib.sha256()
    with lake.filesystem.open_input_stream(f"{lake.root}/{path}", compression=None) as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
