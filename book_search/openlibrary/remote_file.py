"""A file behind HTTP of which pieces are asked for by Range, and these pieces as a file to read.

Knows bytes and where they lie; nothing of what they mean.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from book_search.openlibrary.http import BlockedHostError, GaveUpError, PoliteClient, TooLargeError

LONGEST = 16 << 20  # bytes of one piece: a zip's directory is about one megabyte, a stretch of members at most eight
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


class RemoteFileError(RuntimeError):
    """A file cannot be had, or no further; the message says what came in its place."""


@dataclass
class RemoteFile:
    """Where a file's bytes are asked for.

    Attributes:
        url: of the file.
        node: where its redirects led to, which is asked from then on.
    """

    client: PoliteClient
    url: str
    node: str = ""

    def end(self, length: int) -> tuple[int, int, bytes]:
        """The last bytes of the file: its size, where they begin, and they."""
        found, body = self._ask(f"bytes=-{length}")
        if int(found[3]) != int(found[2]) + 1:
            raise RemoteFileError(f"{self.url} gave another part than its end")
        return int(found[3]), int(found[1]), body

    def part(self, start: int, end: int) -> bytes:
        """Bytes [start, end)."""
        found, body = self._ask(f"bytes={start}-{end - 1}")
        if (int(found[1]), len(body)) != (start, end - start):
            raise RemoteFileError(f"{self.url} gave other bytes than were asked for")
        return body

    def _ask(self, wanted: str) -> tuple[re.Match[str], bytes]:
        """One part; a node that does not give it is asked no more, but the file's own address once again."""
        asked = self.node or self.url
        try:
            response = self.client.get(asked, {"Range": wanted}, LONGEST)
            status = response.status
        except GaveUpError as error:
            if not self.node:
                raise RemoteFileError(str(error)) from error
            status = error.http_status or 0
        except (BlockedHostError, TooLargeError) as error:
            raise RemoteFileError(str(error)) from error
        else:
            found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if status == 206 and found and int(found[2]) - int(found[1]) + 1 == len(response.body):
                self.node = response.url
                return found, response.body
        if self.node and self.node != self.url:
            self.node = ""
            return self._ask(wanted)
        raise RemoteFileError(f"{asked} answered HTTP {status} to a request for a part of it")


class Pieces(io.RawIOBase):
    """A remote file of which some pieces are here: its end, and one more at a time."""

    def __init__(self, size: int, start: int, tail: bytes, ask: Callable[[int, int], bytes]) -> None:
        self._size, self._start, self._tail = size, start, tail
        self._ask: Callable[[int, int], bytes] | None = ask
        self._piece_at, self._piece = 0, b""
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the first byte")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        start = min(self._at, self._size)
        end = self._size if size is None or size < 0 else min(self._size, start + size)
        self._at = end
        if self._piece_at <= start and end <= self._piece_at + len(self._piece):
            return self._piece[start - self._piece_at : end - self._piece_at]
        if start < self._start and start < end:
            self._lengthen(start)
        return self._tail[start - self._start : end - self._start] if start < end else b""

    def _lengthen(self, start: int) -> None:
        """Have the tail begin here; only while the directory is looked for."""
        if self._ask is None or self._size - start > LONGEST:
            raise RemoteFileError(f"byte {start:,} lies outside of what was asked for")
        self._tail = self._ask(start, self._start) + self._tail
        self._start = start

    def seal(self) -> None:
        """Ask for nothing more."""
        self._ask = None

    def holds(self, start: int, end: int) -> bool:
        """Whether these bytes lie in the end that is here."""
        return self._start <= start and end <= self._size

    def add(self, start: int, piece: bytes) -> None:
        """Take a piece in place of the one before."""
        self._piece_at, self._piece = start, piece
