"""Plays Open Library on loopback: its dumps, its covers, its faults; and counts what it is asked.

Knows addresses, answers and faults; what the dumps and covers hold is its content's, drawn or real.
"""

import hashlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

LATEST = re.compile(r"/data/ol_dump_([a-z]+)_latest\.txt\.gz")
DATED = re.compile(r"/download/ol_dump_(\d{4}-\d\d-\d\d)/ol_dump_([a-z]+)_(\d{4}-\d\d-\d\d)\.txt\.gz")
COVER = re.compile(r"/b/id/(\d{1,12})-([SML])\.jpg")
ARCHIVED = re.compile(r"/download/[sml]_covers_\d{4}/[sml]_covers_\d{4}_\d\d\.zip/(\d{10})-([SML])\.jpg")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
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
    """

    dump_date: date
    dumps: Mapping[str, bytes | Path]
    covers: Mapping[int, bytes | int]
    archived: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Faults:
    """Which cover requests go wrong in a way that passes: each share is of requests, drawn by seed and address.

    The same address goes wrong twice in a row at most.

    Attributes:
        throttled: answered 429 with Retry-After.
        unavailable: answered 503 without it.
        broken: cut off in mid-body.
        retry_after: seconds.
        retry_date: whether Retry-After is written as a date, seconds from now.
    """

    seed: int = 0
    throttled: float = 0.0
    unavailable: float = 0.0
    broken: float = 0.0
    retry_after: int = 1
    retry_date: bool = False


SOME_FAULTS = Faults(seed=1, throttled=0.005, unavailable=0.01, broken=0.01)


class Asked(NamedTuple):
    """One request, as the server saw it. `path` is without the query; `at` in monotonic seconds."""

    at: float
    method: str
    path: str
    status: int
    user_agent: str
    range: str


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
        if times >= 2:
            return None
        drawn = random.Random(f"{self.faults.seed}:{path}:{times}").random()
        for name in ("throttled", "unavailable", "broken"):
            share: float = getattr(self.faults, name)
            if drawn < share:
                return name
            drawn -= share
        return None

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
        headers = {"ETag": self.sample.etag(kind, body), "Accept-Ranges": "bytes", "Content-Type": "application/gzip"}
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        same = self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]
        if not asked or not same:
            self._answer(at, 200, body, headers)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
        if first > last:
            self._answer(at, 416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        self._answer(at, 206, body[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(body)}"})

    def _cover(self, at: float, cover_id: int, size: str, missing_is_404: bool) -> None:
        faults, fault = self.sample.faults, self.sample.fault(urlsplit(self.path).path)
        if fault == "throttled":
            retry_after = formatdate(time.time() + faults.retry_after, usegmt=True) if faults.retry_date else None
            headers = {"Retry-After": retry_after or str(faults.retry_after), "Content-Type": "application/json"}
            self._answer(at, 429, b'{"error": "too many requests"}', headers)
        elif fault == "unavailable":
            self._answer(at, 503, b"come back later")
        elif cover_id in self.sample.content.archived:
            item = f"{size.lower()}_covers_{cover_id // 1_000_000:04d}"
            path = f"/download/{item}/{item}_{cover_id // 10_000 % 100:02d}.zip/{cover_id:010d}-{size}.jpg"
            self._answer(at, 302, b"", {"Location": path})
        else:
            self._picture(at, cover_id, missing_is_404, broken=fault == "broken")

    def _picture(self, at: float, cover_id: int, missing_is_404: bool, broken: bool = False) -> None:
        found = self.sample.content.covers.get(cover_id, 404)
        if found == 404 and not missing_is_404:
            found = BLANK
        if isinstance(found, int):
            self._answer(at, found, HTTPStatus(found).phrase.encode())
            return
        kind = "text/html" if found[:1] == b"<" else "image/jpeg"
        self._answer(at, 200, found, {"Content-Type": kind}, broken)

    def _answer(
        self, at: float, status: int, body: bytes, headers: Mapping[str, str] | None = None, broken: bool = False
    ) -> None:
        """Send an answer whole, or its first half before the connection breaks."""
        path, agent = urlsplit(self.path).path, self.headers.get("User-Agent", "")
        self.sample.note(Asked(at, self.command, path, status, agent, self.headers.get("Range", "")))
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if broken else body)
        if broken:
            self.close_connection = True
