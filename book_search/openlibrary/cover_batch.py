"""How the covers file of one archive batch comes about: what comes in is appended as parts, and merged at the end.

Killed at any moment, a batch is what its file and its parts say together; the next to open it goes on from there.
Knows when what is stored; the files' form is `cover_parts`', and how covers are had is no matter here.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from book_search.alone import alone
from book_search.lake import Lake
from book_search.openlibrary.cover_files import covers_path, parts_folder
from book_search.openlibrary.cover_parts import MovedError, Stored, read_stored, write_batch, write_part
from book_search.openlibrary.ledger import LedgerRow, replaces
from book_search.openlibrary.room import DiskFullError, require_room_for_covers

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A part is stored when any of these is reached: what a killed run loses at most.
SAVE_EVERY = 500  # covers
SAVE_BYTES = 16 << 20  # of pictures, which are held in memory until then
SAVE_SECONDS = 60.0

MOVES = 5  # times that what another machine replaced is read anew
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass
class CoverFile:
    """A batch under way. Made by `open`; its memory does not grow with the pictures.

    Attributes:
        rows: the ledger by cover id, with what came in since.
        written: whether the batch's file was made anew, or removed.
    """

    lake: Lake
    batch: str
    save_every: int = SAVE_EVERY
    rows: dict[int, LedgerRow] = field(default_factory=dict)
    written: bool = False
    _stored: Stored = field(default_factory=Stored)
    _wanted: set[int] | None = None
    _new: dict[int, LedgerRow] = field(default_factory=dict)  # since the last part
    _images: dict[str, bytes] = field(default_factory=dict)  # of these rows, by sha256; only what is stored nowhere
    _held: int = 0  # bytes of these
    _changed: bool = False
    _full: bool = False  # whether storing failed for want of room
    _saved_at: float = field(default_factory=time.monotonic)

    @classmethod
    @contextmanager
    def open(cls, lake: Lake, batch: str, save_every: int = SAVE_EVERY) -> "Iterator[CoverFile]":
        """The batch such as `0014_62`, for one process of this machine at a time: another waits for the block to end.

        When the block ends, with an error or without, all that came in is in the batch's file. Two machines may be at
        one batch of a lake on S3: each asks for what it does not find, and a file is always one's or the other's.
        Where both replace it within the same second, the later one's counts, and what came in at the earlier one
        since its last part is asked for again by the next run.

        Raises:
            DiskFullError: while storing. What was stored before is kept, and the next run goes on from there.
        """
        with alone(lake.work / "covers-locks", batch, f"the covers of batch {batch}"):
            lake.sweep(covers_path(batch))
            lake.sweep(f"{parts_folder(batch)}/{batch}-")
            stored = _unmoved(lambda: read_stored(lake, batch))
            held = cls(lake, batch, save_every, dict(stored.rows), _stored=stored, _changed=bool(stored.parts))
            try:
                yield held
            except BaseException:
                if not held._full:
                    held.finish()
                raise
            held.finish()

    @property
    def pictures(self) -> int:
        """How many different pictures the rows show."""
        return len({row.sha256 for row in self.rows.values() if row.sha256 is not None})

    def put(self, row: LedgerRow, image: bytes | None) -> None:
        """Take a new row in place of the cover's old one, and store what came in once it is enough.

        A picture that is here is not given up for a failed try. One that is stored already is not stored again.

        Raises:
            ValueError: a row speaks of a picture that is neither given nor here.
            DiskFullError: see `open`.
        """
        if not replaces(row, self.rows.get(row.cover_id)):
            return
        if row.sha256 is not None and row.sha256 not in self._stored.places and row.sha256 not in self._images:
            if image is None:
                raise ValueError(f"cover {row.cover_id} is {row.status}, but its picture {row.sha256} is not here")
            self._images[row.sha256] = image
            self._held += len(image)
        self.rows[row.cover_id] = self._new[row.cover_id] = row
        self._changed = True
        waited = time.monotonic() - self._saved_at
        if len(self._new) >= self.save_every or self._held >= SAVE_BYTES or waited >= SAVE_SECONDS:
            self.save()

    def keep_only(self, wanted: Iterable[int]) -> int:
        """Drop the rows of all other ids, and the pictures that none of the rest shows; gives how many rows."""
        self._wanted = set(wanted)
        unwanted = self.rows.keys() - self._wanted
        for cover_id in unwanted:
            del self.rows[cover_id]
            self._new.pop(cover_id, None)
        self._changed = self._changed or bool(unwanted)
        return len(unwanted)

    def require_room(self, asked: int) -> None:
        """Make sure that the pictures of so many more covers fit. Raises DiskFullError."""
        sizes = [row.bytes or 0 for row in self.rows.values() if row.sha256 is not None]
        folder = Path(self.lake.uri("")) if self.lake.is_local else self.lake.work
        require_room_for_covers(folder, asked, sum(sizes), sum(sizes) / len(sizes) if sizes else None)

    def save(self) -> None:
        """Store what came in since the last time, where no reader of covers looks. Raises DiskFullError."""
        if self._new:
            with self._room():
                places = write_part(self.lake, self.batch, self._new.values(), self._images)
            self._stored.places = places | self._stored.places
            self._new, self._images, self._held = {}, {}, 0
        self._saved_at = time.monotonic()

    def finish(self) -> None:
        """Make the batch's file from all that is stored and came in; a batch without rows has none.

        Readers see the old file or the new one. The parts go after that, so that whoever is killed between the two
        leaves parts that say nothing new. Does nothing where nothing changed. Raises DiskFullError.
        """
        if not self._changed:
            return
        try:
            parts = _unmoved(self._merge)
        except (DiskFullError, MovedError):
            self.save()  # there may be room for what came in last, if not for all of it once more
            raise
        for path in parts:
            self.lake.delete(path)
        self._new, self._images, self._held = {}, {}, 0
        self._stored = Stored()
        self._changed, self.written = False, True

    def _merge(self) -> list[str]:
        """Replace the batch's file by all that is stored and came in; gives the parts that are in it now."""
        stored = read_stored(self.lake, self.batch)  # again: another machine may have been here
        for row in self._new.values():
            stored.take(row)
        rows = {each: row for each, row in stored.rows.items() if self._wanted is None or each in self._wanted}
        lost: set[str] = set()
        if rows:
            with self._room():
                lost = write_batch(self.lake, self.batch, rows.values(), self._images, stored.places)
        else:
            self.lake.delete(covers_path(self.batch))
        if lost:
            logger.warning("%d pictures of batch %s are lost: their covers are asked again", len(lost), self.batch)
        self.rows = {cover_id: row for cover_id, row in rows.items() if row.sha256 not in lost}
        return stored.parts

    @contextmanager
    def _room(self) -> Iterator[None]:
        """A full disk, or one's quota of it, said in words."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._full = True
            place = self.lake.uri("covers") if self.lake.is_local else str(self.lake.work)
            raise DiskFullError(
                f"no room is left for the covers of batch {self.batch} in {place} ({os.strerror(error.errno)}); those "
                f"that were stored are kept: free some space and run again, which goes on from there"
            ) from error


def _unmoved(read: Callable[[], T]) -> T:
    """What reading gives, begun anew where another machine replaced the files in the midst of it."""
    for _ in range(MOVES):
        try:
            return read()
        except MovedError as error:
            logger.info("%s; it is read again", error)
    return read()
