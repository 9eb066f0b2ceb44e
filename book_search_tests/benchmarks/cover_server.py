"""A covers server that is faster than whoever asks it: pictures from memory, zips from disk, no faults and no limit.

    python -m book_search_tests.benchmarks.cover_server --pictures FOLDER --zips FOLDER

Prints its port and serves until it is killed. It runs in a process of its own, so that its processor time is not
the contenders'.
"""

import argparse
import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from book_search_tests.benchmarks.cover_pictures import picture_of

COVER = re.compile(rb"/b/id/(\d{1,12})-L\.jpg(?:\?default=false)?")
MEMBER = re.compile(rb"/download/[a-z_]+\d+/[a-z_]+\d+_\d\d\.zip/(\d{10})-L\.jpg")
ZIP = re.compile(rb"/download/[a-z_]+\d+/([a-z_]+\d+_\d\d\.zip)")
RANGE = re.compile(rb"(?im)^range: *bytes=(\d*)-(\d*)\r?$")
CLOSE = re.compile(rb"(?im)^connection: *close\r?$")
HEAD_END = b"\r\n\r\n"


class CoverServer(asyncio.Protocol):
    """One connection, kept alive until the other side closes it or asks for that."""

    def __init__(self, pictures: Sequence[bytes], zips: Path) -> None:
        self._pictures, self._zips = pictures, zips
        self._came = b""
        self._busy: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        self._answer_all()

    def _answer_all(self) -> None:
        """Answer what was asked, one request after the other."""
        while self._busy is None and HEAD_END in self._came:
            head, self._came = self._came.split(HEAD_END, 1)
            self._answer(head + b"\r\n")

    def _answer(self, head: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        close = CLOSE.search(head) is not None
        if match := COVER.fullmatch(path) or MEMBER.fullmatch(path):
            body = picture_of(self._pictures, int(match[1]))
            self._say(b"200 OK", len(body), b"Content-Type: image/jpeg\r\n", b"" if method == b"HEAD" else body)
        elif (match := ZIP.fullmatch(path)) and (zip_file := self._zips / match[1].decode()).is_file():
            self._busy = asyncio.get_running_loop().create_task(self._send_zip(zip_file, method, head, close))
            return
        else:
            self._say(b"404 Not Found", 0)
        if close:
            self._transport.close()

    async def _send_zip(self, path: Path, method: bytes, head: bytes, close: bool) -> None:
        """A zip, whole or the part that was asked for, by the kernel's sendfile."""
        size = path.stat().st_size
        first, end = 0, size
        asked = RANGE.search(head)
        if asked and asked[1]:
            first, end = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
        elif asked:
            first = max(0, size - int(asked[2]))
        kind = b'Content-Type: application/zip\r\nAccept-Ranges: bytes\r\nETag: "%d"\r\n' % size
        if asked and first >= end:
            self._say(b"416 Range Not Satisfiable", 0, b"Content-Range: bytes */%d\r\n" % size)
        else:
            part = b"Content-Range: bytes %d-%d/%d\r\n" % (first, end - 1, size) if asked else b""
            self._say(b"206 Partial Content" if asked else b"200 OK", end - first, kind + part)
            if method != b"HEAD":
                with path.open("rb") as file:
                    await asyncio.get_running_loop().sendfile(self._transport, file, first, end - first)
        self._busy = None
        if close:
            self._transport.close()
        self._answer_all()

    def _say(self, status: bytes, length: int, headers: bytes = b"", body: bytes = b"") -> None:
        self._transport.write(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, length, body))


async def serve(pictures: Sequence[bytes], zips: Path) -> None:
    """Serve on a free port of loopback, and say which, until killed."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)  # a contender that closes early is nothing to report
    server = await loop.create_server(lambda: CoverServer(pictures, zips), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the pictures, then serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of .jpg files")
    parser.add_argument("--zips", type=Path, required=True, help="a folder of l_covers_0014_60.zip and the like")
    asked = parser.parse_args()
    asyncio.run(serve([path.read_bytes() for path in sorted(asked.pictures.glob("*.jpg"))], asked.zips))


if __name__ == "__main__":
    main()
