"""Connections that look at whom they reached, and do not wait for ever for an answer's headers.

Knows sockets and urllib3's connections; whom one may reach is `hosts`'.
"""

import io
import socket
import time
from http.client import HTTPResponse
from ipaddress import ip_address

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from book_search.openlibrary.hosts import BlockedHostError, may_answer_for


def checked_pool(headers_within: float, **options: object) -> urllib3.PoolManager:
    """A pool whose connections refuse private addresses behind public names.

    Args:
        headers_within: seconds for an answer's first line and headers, however they drip.
        options: PoolManager's own.
    """

    class Answer(_PatientResponse):
        limit = headers_within

    class Http(_CheckedHTTP):
        response_class = Answer

    class Https(_CheckedHTTPS):
        response_class = Answer

    class HttpPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Https

    pool = urllib3.PoolManager(**options)  # type: ignore[arg-type]
    pool.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
    return pool


class _CheckedHTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _check_address(self, super()._new_conn())


class _CheckedHTTPS(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _check_address(self, super()._new_conn())


def _check_address(connection: HTTPConnection, connected: socket.socket) -> socket.socket:
    """The socket, if its other end may be spoken to. Asked of the socket itself: a name can resolve anew each time."""
    address = ip_address(connected.getpeername()[0].partition("%")[0])
    if may_answer_for(connection.host, address):
        return connected
    connected.close()
    raise BlockedHostError(
        f"{connection.host}:{connection.port}",
        f"it resolves to {address}, which is not public; does this network's name server say so, or its log-in page?",
    )


BUFFER = 1 << 16  # bytes: headers and most covers come in one piece, and each piece costs a turn of all threads


class _PatientResponse(HTTPResponse):
    """An answer whose headers must be here within `limit` seconds, and its trailers within as many.

    A socket's own timeout begins anew each byte.
    """

    limit: float

    def begin(self) -> None:
        self._reader = _LimitedReader(self.fp, time.monotonic() + self.limit)
        self.fp = io.BufferedReader(self._reader, BUFFER)
        super().begin()
        self._reader.end = None

    def _read_and_discard_trailer(self) -> None:
        """What follows a body sent in chunks: the standard library reads on for as long as lines of it come."""
        self._reader.end = time.monotonic() + self.limit
        super()._read_and_discard_trailer()  # type: ignore[misc]


class _LimitedReader(io.RawIOBase):
    """Reads from an answer's socket, until `end` at most, which is None for no limit."""

    def __init__(self, source: io.BufferedIOBase, end: float | None) -> None:
        self._source, self.end = source, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview[int]") -> int:  # type: ignore[override]
        if self.end is not None and time.monotonic() > self.end:
            raise TimeoutError("its headers took too long")
        return self._source.readinto1(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()
