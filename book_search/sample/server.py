"""Plays Open Library on loopback: its dumps, its covers, its faults; and counts what it is asked.

Knows addresses and answers; what the dumps and covers hold is its content's, drawn or real, and what goes wrong with
an answer `faults`'.
"""

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from book_search.sample.faults import SOME_FAULTS, Faults, announced, send_body, sent

__all__ = ["BLANK", "NODE", "SOME_FAULTS", "Asked", "Content", "Faults", "SampleServer"]

LATEST = re.compile(r"/data/ol_dump_([a-z_]+)_latest\.txt\.gz")
DATED = re.compile(r"/download/ol_dump_(\d{4}-\d\d-\d\d)/ol_dump_([a-z_]+)_(\d{4}-\d\d-\d\d)\.txt\.gz")
COVER = re.compile(r"/b/id/(\d{1,12})-([SML])\.jpg")
ARCHIVED = re.compile(r"/download/[sml]_covers_\d{4}/[sml]_covers_\d{4}_\d\d\.zip/(\d{10})-([SML])\.jpg")
NODE = "/node"  # stands before the path of what the archive redirects to the node that holds it
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
# The smallest GIF there is: one transparent pixel, as the covers server sends for an unknown id.
BLANK = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")


@dataclass(frozen=True)
class Content:
    """What there is to serve.

    Attributes:
        dump_date: of all dumps.
        dumps: the gzip of each kind, as bytes or as a file.
        covers: by cover id, the body that answers 200, or another status; an unknown id answers 404. The same for
            every size.
        archived: ids that are answered with a redirect to the archive, as many from 8,000,000 on are.
        zips: what the archive has, by path (see `zips`): a zip's bytes, an error page's, or another status. As there,
            a zip's own address leads to a node that holds it.
    """

    dump_date: date
    dumps: Mapping[str, bytes | Path]
    covers: Mapping[int, bytes | int]
    archived: frozenset[int] = frozenset()
    zips: Mapping[str, bytes | int] = field(default_factory=dict)


class Asked(NamedTuple):
    """One request, as the server saw it. `path` is without the query; `at` in monotonic seconds; `sent` of the body."""

    at: float
    method: str
    path: str
    status: int
    user_agent: str
    range: str
    sent: int = 0


@dataclass
class SampleServer:
    """Open Library on 127.0.0.1, for the length of a `with` block.

    Args:
        content: what it serves.
        faults: what goes wrong.
        port: 0 for any that is free.
    """

    content: Content
    faults: Faults = field(default_factory=Faults)
    port: int = 0

    def __post_init__(self) -> None:
        self._asked: list[Asked] = []
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._etags: dict[str, str] = {}

    def __enter__(self) -> "SampleServer":
        self._server = _Server(("127.0.0.1", self.port), type("_BoundHandler", (_Handler,), {"sample": self}))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        """Its address, for BOOK_SEARCH_OPEN_LIBRARY_URL, COVERS_URL and ARCHIVE_URL alike."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> tuple[Asked, ...]:
        """Every request so far, in order."""
        with self._lock:
            return tuple(self._asked)

    def forget(self) -> None:
        """Count anew."""
        with self._lock:
            self._asked.clear()

    def counts(self) -> dict[int, int]:
        """The requests so far by the status that they were answered with."""
        return dict(sorted(Counter(each.status for each in self.asked).items()))

    def busiest(self, seconds: float = 1.0) -> int:
        """The most requests that came within any `seconds`."""
        times = [each.at for each in self.asked]
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def fault(self, path: str) -> str | None:
        """What goes wrong with the next request for a path, if anything."""
        with self._lock:
            times = self._times[path]
        return self.faults.drawn(path, times)

    def note(self, asked: Asked) -> None:
        """Write a request down."""
        with self._lock:
            self._asked.append(asked)
            self._times[asked.path] += 1

    def etag(self, kind: str, body: bytes) -> str:
        """A dump's entity tag."""
        return self._etags.setdefault(kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or was killed, is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    sample: SampleServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        at, address = time.monotonic(), urlsplit(self.path)
        path = address.path
        if match := LATEST.fullmatch(path):
            self._latest(at, match[1])
        elif match := DATED.fullmatch(path):
            self._dump(at, match[2], match[1] == match[3] == str(self.sample.content.dump_date))
        elif match := COVER.fullmatch(path):
            missing_is_404 = parse_qs(address.query).get("default") == ["false"]
            self._cover(at, int(match[1]), match[2], missing_is_404)
        elif match := ARCHIVED.fullmatch(path):
            self._picture(at, int(match[1]), missing_is_404=True)
        elif path.removeprefix(NODE) in self.sample.content.zips:
            self._zip(at, path)
        else:
            self._answer(at, 404, b"not found")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Requests are counted, not printed."""

    def _latest(self, at: float, kind: str) -> None:
        if kind not in self.sample.content.dumps:
            self._answer(at, 404, b"not found")
            return
        day = self.sample.content.dump_date
        self._answer(at, 302, b"", {"Location": f"/download/ol_dump_{day}/ol_dump_{kind}_{day}.txt.gz"})

    def _dump(self, at: float, kind: str, current: bool) -> None:
        found = self.sample.content.dumps.get(kind) if current else None
        if found is None:
            self._answer(at, 404, b"not found")
            return
        body = found.read_bytes() if isinstance(found, Path) else found
        self._part(at, body, {"ETag": self.sample.etag(kind, body), "Content-Type": "application/gzip"})

    def _part(self, at: float, body: bytes, headers: Mapping[str, str], fault: str | None = None) -> None:
        """What Range asks for, or the whole."""
        headers = {**headers, "Accept-Ranges": "bytes"}
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        same = "ETag" not in headers or self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]
        if not asked or not same or asked[0] == "bytes=-":
            self._answer(at, 200, body, headers, fault)
            return
        if asked[1]:
            first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
        else:
            first, last = max(len(body) - int(asked[2]), 0), len(body) - 1
        if first > last:
            self._answer(at, 416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        range_ = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        self._answer(at, 206, body[first : last + 1], headers | range_, fault)

    def _zip(self, at: float, path: str) -> None:
        fault = self.sample.fault(path)
        found = self.sample.content.zips[path.removeprefix(NODE)]
        if instead := self.sample.faults.answer_instead(fault):
            self._answer(at, *instead)
        elif isinstance(found, int):
            self._answer(at, found, HTTPStatus(found).phrase.encode())
        elif not path.startswith(NODE):
            self._answer(at, 302, b"", {"Location": NODE + path})
        elif not found.startswith(b"PK"):  # an error page, which knows no ranges
            self._answer(at, 200, found, {"Content-Type": "text/html"})
        else:
            self._part(at, found, {"Content-Type": "application/zip"}, fault)

    def _cover(self, at: float, cover_id: int, size: str, missing_is_404: bool) -> None:
        fault = self.sample.fault(urlsplit(self.path).path)
        if instead := self.sample.faults.answer_instead(fault):
            self._answer(at, *instead)
        elif cover_id in self.sample.content.archived:
            item = f"{size.lower()}_covers_{cover_id // 1_000_000:04d}"
            path = f"/download/{item}/{item}_{cover_id // 10_000 % 100:02d}.zip/{cover_id:010d}-{size}.jpg"
            self._answer(at, 302, b"", {"Location": path})
        else:
            self._picture(at, cover_id, missing_is_404, fault)

    def _picture(self, at: float, cover_id: int, missing_is_404: bool, fault: str | None = None) -> None:
        found = self.sample.content.covers.get(cover_id, 404)
        if found == 404 and not missing_is_404:
            found = BLANK
        if isinstance(found, int):
            self._answer(at, found, HTTPStatus(found).phrase.encode())
            return
        kind = "text/html" if found[:1] == b"<" else "image/jpeg"
        self._answer(at, 200, found, {"Content-Type": kind}, fault)

    def _answer(
        self, at: float, status: int, body: bytes, headers: Mapping[str, str] | None = None, fault: str | None = None
    ) -> None:
        """Send an answer, its body as the fault wants it."""
        path, agent = urlsplit(self.path).path, self.headers.get("User-Agent", "")
        size = 0 if self.command == "HEAD" else sent(fault, len(body))
        self.sample.note(Asked(at, self.command, path, status, agent, self.headers.get("Range", ""), size))
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(announced(fault, len(body))))
        self.end_headers()
        if self.command != "HEAD":
            send_body(self, body, fault, self.sample.faults.drip_pause)
