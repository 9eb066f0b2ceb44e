"""What the contenders of `bench_covers` are asked for: lists of covers, zips that hold as many, and the server of both.

Knows files, ids and addresses; nothing of who competes.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from book_search.cover_ranges import COVERS_PER_BATCH, batch_key
from book_search.openlibrary.archive import archive_zip
from book_search.openlibrary.by_id import cover_url
from book_search_tests.benchmarks.cover_pictures import drawn_pictures, write_zip

FIRST = 14_600_000  # cover ids from here on are asked for by id
FIRST_ZIPPED = 14_700_000  # and from here on in bulk
STEP = 100  # of so many ids in a row one is asked for by id; by the default filter it is one of some 200
DRAWN = 2_000  # different pictures; each cover has bytes of its own all the same


@dataclass(frozen=True)
class Field:
    """A number of covers.

    Attributes:
        ids: a file with the ids of those that are asked for by id, one a line.
        urls: the same as addresses, for those who know nothing of Open Library.
        zipped_ids: the ids of those that are had in bulk, all of one archive batch.
        zip: that batch as the Internet Archive has it.
        zip_url: where it is served.
    """

    count: int
    ids: Path
    urls: Path
    zipped_ids: Path
    zip: Path
    zip_url: str


def pictures_to_serve(folder: Path, given: Path | None) -> tuple[Path, list[bytes]]:
    """A folder of JPEG files, and they: those given, or drawn ones. Raises ValueError for a folder without any."""
    if given is None:
        given = folder / "pictures"
        drawn_pictures(given, DRAWN)
    pictures = [path.read_bytes() for path in sorted(given.glob("*.jpg"))]
    if not pictures:
        raise ValueError(f"{given} has no .jpg files")
    return given, pictures


def prepare(folder: Path, counts: Sequence[int], pictures: Sequence[bytes], url: str) -> list[Field]:
    """Write the lists and the zips.

    Args:
        folder: for the lists; the zips come under `folder/zips`.
        counts: of covers, each at most what one archive batch holds, or ValueError.
        url: of the server.
    """
    if not all(0 < count <= COVERS_PER_BATCH for count in counts):
        raise ValueError(f"an archive batch has 1 to {COVERS_PER_BATCH:,} covers")
    fields = []
    for number, count in enumerate(sorted(counts)):
        by_id = range(FIRST, FIRST + STEP * count, STEP)
        first = FIRST_ZIPPED + number * COVERS_PER_BATCH
        zipped = range(first, first + count)
        zip_url = archive_zip(url, batch_key(first), "L").url
        zip_file = folder / "zips" / zip_url.rpartition("/")[2]
        write_zip(zip_file, pictures, zipped)
        field = Field(
            count=count,
            ids=_listed(folder / f"{count}.ids", by_id),
            urls=_listed(folder / f"{count}.urls", (cover_url(url, cover_id, "L") for cover_id in by_id)),
            zipped_ids=_listed(folder / f"{count}-zipped.ids", zipped),
            zip=zip_file,
            zip_url=zip_url,
        )
        fields.append(field)
    return fields


@contextmanager
def serving(pictures: Path, zips: Path) -> Iterator[str]:
    """The server in a process of its own, for the length of the block; gives its address.

    Raises RuntimeError where it does not come up.
    """
    command = [sys.executable, "-m", "book_search_tests.benchmarks.cover_server"]
    command += ["--pictures", str(pictures), "--zips", str(zips)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            if not port:
                raise RuntimeError("the server did not come up")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _listed(path: Path, items: Iterator[str] | Sequence[int]) -> Path:
    path.write_text("".join(f"{item}\n" for item in items))
    return path
