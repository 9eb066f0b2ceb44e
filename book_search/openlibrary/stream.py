"""The body of one answer, taken piece by piece under a cap, and given up where it drips or breaks off.

Knows one answer that has begun; nothing of how it was asked for, or whether it is asked for again.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

import urllib3
from urllib3.exceptions import HTTPError

from book_search.openlibrary.answers import BrokenOffError, TooLargeError

CHUNK = 1 << 16
KEPT_HEADERS = ("Content-Type", "Content-Length", "ETag", "Last-Modified", "Content-Range", "Accept-Ranges")
LENGTH = re.compile(r"[0-9]{1,18}")  # of a body; what else a header may say is no number of bytes
SLOWEST = 1000  # bytes a second over a spell of patience; a body that comes slower is given up

Ended = Callable[[int, int, HTTPError | None], None]


class Stream:
    """An answer whose body is yet to come. Iterate it once, in its `with` block, for chunks of bytes.

    Args:
        max_bytes: of the body.
        deadline: seconds for the whole body; None: as long as it takes.
        patience: seconds, in each of which SLOWEST bytes a second must come.
        ended: called once, with (status, bytes received, error or None), when the body is whole, broken or left.
        allow: raises what should end the reading between two chunks, such as a budget that is spent.

    Attributes:
        status: HTTP status: 200, 206, 404, 416, ...: an answer that another try would not change.
        headers: those of KEPT_HEADERS that it has.
        length: of the body, as announced; None where it is not.
        url: where it came from, after redirects.
        attempts: how often it was asked for, redirects not counted.
        received: bytes of the body so far.
    """

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        url: str,
        attempts: int,
        max_bytes: int,
        deadline: float | None,
        patience: float,
        clock: Callable[[], float],
        ended: Ended,
        allow: Callable[[], None] = lambda: None,
    ) -> None:
        self.status, self.url, self.attempts = response.status, url, attempts
        self.headers: Mapping[str, str] = {
            name: response.headers[name] for name in KEPT_HEADERS if name in response.headers
        }
        announced = self.headers.get("Content-Length", "")
        self.length = int(announced) if LENGTH.fullmatch(announced) else None
        self.received = 0
        self._response, self._max_bytes, self._ended = response, max_bytes, ended
        self._deadline, self._patience, self._clock, self._allow = deadline, patience, clock, allow
        self._open = True
        self._chunks = self._read()
        self._first: bytes | None = None

    def __iter__(self) -> Iterator[bytes]:
        """The chunks of the body, none of them empty.

        Raises:
            TooLargeError: it is larger than `max_bytes`.
            BrokenOffError: it breaks off, falls short, or drips.
            NotNowError: the client may ask no more: its time is over, or it was stopped.
        """
        try:
            if self._first:
                yield self._first
                self._first = None
            yield from self._chunks
        except HTTPError as error:
            raise BrokenOffError(self.url, named(error), self.attempts, self.status, self.received) from error

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more of it. The connection is kept where the body was taken whole, else closed."""
        if self._open:
            self._response.close()
            self._end(None)

    def whole(self) -> bytes:
        """The whole body. Raises TooLargeError, and urllib3's HTTPError where it drips, breaks off or falls short."""
        try:
            return b"".join(self._chunks)
        finally:
            self.close()

    def drain(self) -> None:
        """Read a small body that nobody wants, so that its connection can be used again."""
        try:
            self.whole()
        except (HTTPError, TooLargeError):
            self.close()  # its status and headers are all that counts

    def begin(self) -> None:
        """Wait for the first chunk. Raises as `whole` does."""
        self._first = next(self._chunks, None)

    def _read(self) -> Iterator[bytes]:
        if self.length is not None and self.length > self._max_bytes:
            self._refuse()
        spent = lately = 0.0  # seconds of waiting for bytes: the reader's own time is not the server's slowness
        come = 0
        try:
            while True:
                before = self._clock()
                chunk = self._response.read1(CHUNK, decode_content=False)
                passed = self._clock() - before
                if not chunk:
                    break
                self.received += len(chunk)
                if self.received > self._max_bytes:
                    self._refuse()
                spent, lately, come = spent + passed, lately + passed, come + len(chunk)
                self._require_speed(spent, lately, come)
                if lately > self._patience:
                    lately, come = 0.0, 0
                yield chunk
                self._allow()
        except HTTPError as error:
            self._response.close()
            self._end(error)
            raise
        self._end(None)

    def _require_speed(self, spent: float, lately: float, come: int) -> None:
        """Raise HTTPError after `spent` seconds of waiting in all, or `come` bytes in the last `lately` of them."""
        if self._deadline is not None and spent > self._deadline:
            raise HTTPError(f"not complete after {self._deadline:.0f} s")
        if lately > self._patience and come < SLOWEST * lately:
            raise HTTPError(f"too slow: {come:,} bytes in {lately:.0f} s")

    def _refuse(self) -> None:
        self.close()
        raise TooLargeError(self.url, self._max_bytes, self.attempts, self.status)

    def _end(self, error: HTTPError | None) -> None:
        self._open = False
        self._ended(self.status, self.received, error)


def named(error: HTTPError) -> str:
    """The error's kind and words, without the object addresses that urllib3 puts before them."""
    return f"{type(error).__name__}: {re.sub(r'<[^>]*>:? ?|^[^:]*object at 0x[0-9a-f]+>?: ', '', str(error))}"
