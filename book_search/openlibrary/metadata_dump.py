"""Open Library's dump of covers' metadata: which wanted covers need not be asked for, since it says what they are.

Knows the dump's lines; nothing of requests. They come from `dump-covers-metadata.sql` in Open Library's scripts: cover
id, width and height of the picture as uploaded, day of its creation, with tabs between them, one line a cover, no
header. Width and height are empty where Open Library never looked.
"""

import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from book_search.cover_ranges import COVERS_PER_BATCH
from book_search.lake import Lake
from book_search.openlibrary.dumps import COVERS_METADATA, DumpError, check_whole, current_dump, fetch_dump, find_latest
from book_search.openlibrary.images import SMALLEST_SIDE
from book_search.openlibrary.ledger import LedgerRow, next_try

MEMORY = "200MB"  # DuckDB's

# Whole lines, so that a line with fewer or more columns is no error: what is missing is NULL, what is more is nothing.
# The dump is read once, and becomes a row for each archive batch that it knows.
READ = r"""
CREATE TEMP TABLE batch AS
WITH line AS (
    SELECT split_part(line, chr(9), 1) AS id,
           split_part(line, chr(9), 2) AS width,
           split_part(line, chr(9), 3) AS height
    FROM read_csv($path, columns = {'line': 'VARCHAR'}, delim = chr(31), quote = '', escape = '', header = false,
                  auto_detect = false, ignore_errors = true)
), cover AS (
    SELECT try_cast(id AS BIGINT) AS id, try_cast(width AS INTEGER) AS width, try_cast(height AS INTEGER) AS height
    FROM line
)
SELECT cover.id // $covers_per_batch AS number,
       max(cover.id) AS newest,
       list({'id': cover.id, 'width': width, 'height': height}) FILTER (wanted.id IS NOT NULL) AS found
FROM cover LEFT JOIN wanted ON wanted.id = cover.id
WHERE cover.id > 0 GROUP BY number
"""
FOUND = "CREATE TEMP TABLE found AS SELECT DISTINCT unnest(found, recursive := true) FROM batch"
TINY = """
SELECT id, max(width) AS width, max(height) AS height FROM found GROUP BY id
HAVING max(width) BETWEEN 1 AND $most OR max(height) BETWEEN 1 AND $most
"""
# Where it should stand in the dump and does not; of a batch that the dump does not know at all it says nothing.
ABSENT = """
SELECT wanted.id FROM wanted
JOIN batch ON batch.number = wanted.id // $covers_per_batch
ANTI JOIN found ON found.id = wanted.id
WHERE wanted.id <= (SELECT max(newest) FROM batch) ORDER BY wanted.id
"""


@dataclass(frozen=True)
class KnownCovers:
    """What the dump says of the wanted covers.

    Attributes:
        source_url: of the dump.
        absent: ids of those that should stand in the dump and do not, sorted; 8 bytes each.
        tiny: width and height by id of those of which a side is below 10 pixels, as 1 x 1 is.
    """

    source_url: str
    absent: "array[int]"
    tiny: Mapping[int, tuple[int | None, int | None]]

    def verdict(self, cover_id: int) -> Literal["missing", "placeholder"] | None:
        """What a wanted cover is; None where it must be asked for."""
        if cover_id in self.tiny:
            return "placeholder"
        at = bisect_left(self.absent, cover_id)
        return "missing" if at < len(self.absent) and self.absent[at] == cover_id else None

    def settle(self, cover_ids: Sequence[int], rows: Mapping[int, LedgerRow], at: datetime) -> Iterator[LedgerRow]:
        """The ledger's rows of those covers that need no request."""
        for cover_id in cover_ids:
            if (status := self.verdict(cover_id)) is not None:
                width, height = self.tiny.get(cover_id, (None, None))
                before = rows.get(cover_id)
                yield LedgerRow(
                    cover_id=cover_id,
                    status=status,
                    http_status=None,
                    attempts=before.attempts if before else 0,
                    next_try=next_try(status, at),
                    bytes=None,
                    width=width,
                    height=height,
                    sha256=None,
                    source_url=self.source_url,
                    fetched_at=at,
                )


def known_covers(
    lake: Lake, address: str, user_agent: str, wanted: Collection[int], ask: bool = True
) -> KnownCovers | None:
    """What the dump at an address says of these covers; fetched into the lake where a newer one is published.

    Args:
        address: a file; the address of one; or of Open Library, which publishes it.
        ask: whether to look for a newer one; without it the one in the lake counts, and None says that there is none.

    Raises:
        DumpError: it cannot be had, is empty or is damaged.
    """
    if "://" not in address:
        return read_metadata(Path(address), wanted, Path(address).resolve().as_uri())
    if ask:
        base = address.replace(COVERS_METADATA, "{kind}") if address.endswith(".gz") else address
        record = fetch_dump(lake, find_latest(COVERS_METADATA, base, user_agent), user_agent)
    elif (found := current_dump(lake, COVERS_METADATA)) is not None:
        record = found
    else:
        return None
    with lake.local(record.path) as path:
        return read_metadata(path, wanted, record.source_url, whole=True)


def read_metadata(path: Path, wanted: Collection[int], source_url: str, whole: bool = False) -> KnownCovers:
    """The same of a file, gzipped or plain, in memory that does not grow with it.

    Args:
        wanted: cover ids.
        source_url: what the ledger shall name.
        whole: whether a gzip is known to be so, which is else looked at first.

    Raises:
        DumpError: there is no such file, it holds no cover, or its gzip is damaged.
    """
    if not path.is_file():
        raise DumpError(f"no dump of covers' metadata lies at {path}; look at BOOK_SEARCH_COVERS_METADATA")
    if path.suffix == ".gz" and not whole:
        check_whole(path, COVERS_METADATA, path.parent)
    ids = pa.table({"id": pa.array(wanted, pa.int64()).unique()})
    numbers = {"covers_per_batch": COVERS_PER_BATCH}
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as connection:
        connection.execute("SET memory_limit = $limit", {"limit": MEMORY})
        connection.execute("SET temp_directory = $folder", {"folder": scratch})
        connection.register("wanted", ids)
        connection.execute(READ, {"path": str(path), **numbers})
        if connection.execute("SELECT count(*) FROM batch").fetchone() == (0,):
            raise DumpError(f"{path} holds no line that begins with a cover's id; is it ol_dump_covers_metadata?")
        connection.execute(FOUND)
        tiny = connection.execute(TINY, {"most": SMALLEST_SIDE - 1}).fetchall()
        absent = array("q")
        for batch in connection.sql(ABSENT, params=numbers).to_arrow_reader():
            absent.frombytes(batch["id"].to_numpy().tobytes())
    return KnownCovers(source_url, absent, {cover_id: (width, height) for cover_id, width, height in tiny})
