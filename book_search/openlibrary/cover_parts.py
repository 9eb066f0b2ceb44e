"""What is stored of an archive batch: its covers file and the parts that are still to be merged into it.

Knows the files' form, and how many of them become one with a row group in memory at a time; nothing of when that is
done.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from book_search import schemas
from book_search.lake import Lake
from book_search.openlibrary.cover_files import covers_path, parts_folder, parts_of
from book_search.openlibrary.ledger import LedgerRow, from_table, replaces, to_table

# Of a row group: what a reader, or the merging of a batch, holds in memory with its pictures.
ROWS_PER_GROUP = 256
BYTES_PER_GROUP = 4 << 20


class MovedError(RuntimeError):
    """Another machine replaced files of the batch while they were read here; they are to be read anew."""


Group = tuple[Sequence[LedgerRow], Sequence[bytes | None]]  # rows by cover id, and the picture beside each


class Place(NamedTuple):
    """Where the bytes of a picture lie."""

    path: str
    group: int
    position: int


@dataclass
class Stored:
    """What the files of a batch say together.

    Attributes:
        rows: the ledger by cover id; of two rows of a cover the one fetched later counts, see `ledger.replaces`.
        places: of each picture, by sha256.
        parts: the part files that were read, oldest first.
    """

    rows: dict[int, LedgerRow] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def take(self, row: LedgerRow) -> None:
        """Let a row that came in later count."""
        if replaces(row, self.rows.get(row.cover_id)):
            self.rows[row.cover_id] = row


def read_stored(lake: Lake, batch: str) -> Stored:
    """The ledger of a batch and where its pictures are, without reading one. Raises MovedError."""
    stored = Stored(parts=parts_of(lake, batch))
    # The oldest first: a part holds no picture that was stored before it.
    for path in [*([covers_path(batch)] if lake.exists(covers_path(batch)) else []), *stored.parts]:
        rows, places = _read(lake, path)
        for row in rows:
            # Parts that outlived the merging of their batch know less than its file does.
            if row.cover_id not in stored.rows or row.fetched_at >= stored.rows[row.cover_id].fetched_at:
                stored.take(row)
        stored.places = places | stored.places
    return stored


def write_part(lake: Lake, batch: str, rows: Iterable[LedgerRow], pictures: Mapping[str, bytes]) -> dict[str, Place]:
    """Store rows, and pictures that no file of the batch holds yet, in a part of their own.

    Returns:
        The pictures' places; none where another machine has merged the part into the batch's file by now.
    """
    numbers = [int(PurePosixPath(path).stem.split("-")[1]) for path in parts_of(lake, batch)]
    # The numbers are the order in which parts came about; with the rest two machines never take the same name.
    path = f"{parts_folder(batch)}/{batch}-{max(numbers, default=0) + 1:06d}-{uuid.uuid4().hex[:8]}.parquet"
    left = dict(pictures)

    def groups() -> Iterator[Group]:
        for group in _in_groups(rows):
            yield group, [left.pop(row.sha256, None) if row.sha256 else None for row in group]

    with lake.writing(path) as local:
        _write(local, groups())
    try:
        _, places = _read(lake, path)
    except MovedError:
        return {}
    return {sha256: place for sha256, place in places.items() if sha256 in pictures}


def write_batch(
    lake: Lake,
    batch: str,
    rows: Iterable[LedgerRow],
    pictures: Mapping[str, bytes],
    places: Mapping[str, Place],
) -> set[str]:
    """Replace the file of a batch: all its rows, each picture once, of which those of a row group are in memory.

    Args:
        pictures: some of the pictures, by sha256.
        places: where the others lie.

    Returns:
        The sha256 of pictures that are nowhere; their rows are not written, so that the covers are asked for again.

    Raises:
        MovedError: a picture does not lie in its place; the file is left as it is.
    """
    lost: set[str] = set()

    def groups() -> Iterator[Group]:
        seen: set[str] = set()
        for group in _in_groups(rows):
            new = {row.sha256 for row in group if row.sha256 is not None} - seen
            found = _find(lake, new, pictures, places)
            lost.update(new - found.keys())
            seen.update(new)
            kept = [row for row in group if row.sha256 not in lost]
            yield kept, [found.pop(row.sha256, None) if row.sha256 else None for row in kept]

    with lake.writing(covers_path(batch)) as local:
        _write(local, groups())
    return lost


def _write(local: Path, groups: Iterable[Group]) -> None:
    """Write rows with their pictures as a covers file. Pictures are not compressed: a JPEG gives nothing."""
    ledger = schemas.LEDGER.names
    compression = dict.fromkeys(ledger, "zstd") | {"image": "none"}
    with pq.ParquetWriter(
        local, schemas.COVERS, compression=compression, use_dictionary=ledger, write_statistics=ledger
    ) as writer:
        for rows, images in groups:
            if rows:
                table = to_table(rows).append_column(schemas.COVERS.field("image"), pa.array(images, pa.binary()))
                writer.write_table(table, row_group_size=len(rows))


def _in_groups(rows: Iterable[LedgerRow]) -> Iterator[list[LedgerRow]]:
    """The rows by cover id, in the groups in which they are stored."""
    group: list[LedgerRow] = []
    held = 0
    for row in sorted(rows, key=lambda row: row.cover_id):
        size = (row.bytes or 0) if row.sha256 else 0
        if group and (len(group) == ROWS_PER_GROUP or held + size > BYTES_PER_GROUP):
            yield group
            group, held = [], 0
        group.append(row)
        held += size
    if group:
        yield group


def _read(lake: Lake, path: str) -> tuple[list[LedgerRow], dict[str, Place]]:
    """The rows of a file, and where in it each picture would lie: beside the first row that shows it."""
    with _opened(lake, path) as file:
        rows = from_table(file.read(columns=schemas.LEDGER.names))
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    places: dict[str, Place] = {}
    spots = ((group, position) for group, size in enumerate(sizes) for position in range(size))
    for row, (group, position) in zip(rows, spots, strict=True):
        if row.sha256 is not None:
            places.setdefault(row.sha256, Place(path, group, position))
    return rows, places


def _find(
    lake: Lake, wanted: Iterable[str], pictures: Mapping[str, bytes], places: Mapping[str, Place]
) -> dict[str, bytes]:
    """The bytes of the pictures that are somewhere; the files are read a row group at a time."""
    found: dict[str, bytes] = {}
    stored: dict[tuple[str, int], dict[str, int]] = {}
    for sha256 in wanted:
        if sha256 in pictures:
            found[sha256] = pictures[sha256]
        elif sha256 in places:
            place = places[sha256]
            stored.setdefault((place.path, place.group), {})[sha256] = place.position
    for (path, group), positions in sorted(stored.items()):
        with _opened(lake, path) as file:
            there = file.read_row_group(group, columns=["sha256", "image"]) if group < file.num_row_groups else None
        for sha256, position in positions.items():
            if there is None or position >= len(there) or there["sha256"][position].as_py() != sha256:
                raise MovedError(f"{path} is not what it was when it was read first")
            if there["image"][position].is_valid:
                found[sha256] = there["image"][position].as_py()
    return found


def _opened(lake: Lake, path: str) -> pq.ParquetFile:
    try:
        return lake.parquet(path)
    except FileNotFoundError as error:
        raise MovedError(f"{path} was removed after it was listed") from error
