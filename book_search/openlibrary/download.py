"""Downloads one big file over HTTP, or copies it, going on after any break from the bytes that are already here.

Knows addresses, ranges and waiting; nothing of what the file holds.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import urllib3
from urllib3.exceptions import HTTPError

from book_search.openlibrary.lines import DumpError

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
MOST_HOPS = 6
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TIMEOUT = urllib3.Timeout(connect=15, read=60)

Progress = Callable[[int, int | None], None]


class HttpStatusError(DumpError):
    """The server answered, but not with the file."""

    def __init__(self, url: str, status: int, retry_after: str | None = None) -> None:
        super().__init__(f"{url} answered HTTP {status}")
        self.status = status
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether asking again later may help."""
        return self.status in (408, 425, 429) or self.status >= 500


@dataclass(frozen=True)
class Retry:
    """How to go on after breaks and refusals.

    Args:
        attempts: failures in a row, without a byte gained, after which to give up.
        first_wait: seconds after the first failure; doubled after each further one.
        longest_wait: seconds that a wait is at most, the server's Retry-After included.
        sleep: waits; a test gives its own.
        timeout: of one request of `head`.
    """

    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    timeout: urllib3.Timeout = TIMEOUT

    def wait(self, failures: int, error: Exception) -> None:
        """Wait as the server asks, or longer after each failure. Raises DumpError once it is enough."""
        if failures >= self.attempts:
            raise DumpError(f"gave up after {failures} failures in a row ({error}); start again to go on") from error
        seconds = self.first_wait * 2 ** (failures - 1)
        if isinstance(error, HttpStatusError) and error.retry_after:
            seconds = max(seconds, _seconds(error.retry_after))
        seconds = min(seconds, self.longest_wait)
        logger.info("%s; asking again in %.0f s", error, seconds)
        self.sleep(seconds)


@dataclass(frozen=True)
class Hop:
    """One address on the way to a file; `size` and `last_modified` are the file's, at the last one."""

    url: str
    size: int | None
    last_modified: str | None


@dataclass(frozen=True)
class Address:
    """A file to download: where, how to introduce oneself, and its bytes where they are known."""

    url: str
    user_agent: str
    size: int | None = None


def head(url: str, user_agent: str, retry: Retry) -> list[Hop]:
    """The addresses that `url` leads through, without asking for the file itself.

    Raises:
        HttpStatusError: the last one has no file.
        DumpError: it cannot be reached, or leads on without end.
    """
    failures = 0
    while True:
        try:
            return _follow(url, user_agent, retry.timeout)
        except (HTTPError, HttpStatusError) as error:
            if isinstance(error, HttpStatusError) and not error.passing:
                raise
            failures += 1
            retry.wait(failures, error)


def download(address: Address, target: Path, progress: Progress | None, retry: Retry) -> None:
    """Get a file to `target`. What a break leaves in `{target}.part` is gone on from, by this call or a later one.

    Raises:
        HttpStatusError: the server has no such file.
        DumpError: the disk is too small, or the server gave up on us.
    """
    if target.exists():
        if address.size in (None, target.stat().st_size):
            return
        target.unlink()
    if urlsplit(address.url).scheme == "file":
        _copy(address, target, progress)
        return
    partial = _Partial(target, address.url)
    failures = 0
    with _pool() as pool:
        while True:
            before = partial.size
            try:
                if _receive(pool, address, partial, progress):
                    break
            except (HTTPError, HttpStatusError) as error:
                if isinstance(error, HttpStatusError) and not error.passing:
                    raise
                failures = 1 if partial.size > before else failures + 1
                retry.wait(failures, error)
    partial.finish()


class _Partial:
    """The bytes that are here so far, and beside them what must still be true of the file to go on from them."""

    def __init__(self, target: Path, url: str) -> None:
        self.target, self.url = target, url
        self.path = target.with_name(target.name + ".part")
        self._side = target.with_name(target.name + ".part.json")
        self.validator: str | None = None
        self.total: int | None = None
        known = json.loads(self._side.read_bytes()) if self._side.exists() and self.path.exists() else {}
        if known.get("url") == url:
            self.validator, self.total = known["validator"], known["total"]
        else:
            self.restart(None, None)

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def restart(self, validator: str | None, total: int | None) -> None:
        """Begin with no bytes."""
        self.path.write_bytes(b"")
        self.validator, self.total = validator, total
        self._side.write_text(json.dumps({"url": self.url, "validator": validator, "total": total}))

    def finish(self) -> None:
        self.path.replace(self.target)
        self._side.unlink()


def _receive(pool: urllib3.PoolManager, address: Address, partial: _Partial, progress: Progress | None) -> bool:
    """Ask once for what is missing. True once the file is complete; an HTTPError is raised where it breaks off."""
    start = partial.size
    if start and start == partial.total:
        return True
    headers = {}
    if start:
        headers["Range"] = f"bytes={start}-"
        if partial.validator:
            headers["If-Range"] = partial.validator
    with _get(pool, address, headers) as response:
        if response.status == 416:
            partial.restart(None, None)  # the file is another, shorter one by now
            return False
        total = _total(response)
        goes_on = response.status == 206 and _first_byte(response) == start and total == partial.total
        if not goes_on:
            if response.status == 206:
                partial.restart(None, None)
                return False
            partial.restart(_validator(response), total)
        _require_room(partial.path, total, partial.size)
        done = partial.size
        with partial.path.open("ab") as file:
            for chunk in response.stream(CHUNK, decode_content=False):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise HTTPError(f"{address.url} broke off at {done:,} of {total:,} bytes")
    return True


@contextmanager
def _get(pool: urllib3.PoolManager, address: Address, headers: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
    """The answer with the file, or 416; its body is not yet read. Raises HttpStatusError for any other."""
    url = address.url
    for _ in range(MOST_HOPS):
        response = _request(pool, "GET", url, address.user_agent, headers)
        try:
            if response.status in REDIRECTS and response.headers.get("Location"):
                url = _next(url, response.headers["Location"])
                continue
            if response.status not in (200, 206, 416):
                raise HttpStatusError(url, response.status, response.headers.get("Retry-After"))
            yield response
            return
        finally:
            # Closing, not draining: what is left of a body may be gigabytes.
            response.close()
    raise DumpError(f"{address.url} leads on through more than {MOST_HOPS} addresses")


def _follow(url: str, user_agent: str, timeout: urllib3.Timeout) -> list[Hop]:
    hops: list[Hop] = []
    with _pool(timeout) as pool:
        while len(hops) < MOST_HOPS:
            response = _request(pool, "HEAD", url, user_agent, {})
            if response.status in (405, 501):  # a server without HEAD: ask for one byte
                response.close()
                response = _request(pool, "GET", url, user_agent, {"Range": "bytes=0-0"})
            response.close()
            if response.status in REDIRECTS and response.headers.get("Location"):
                hops.append(Hop(url, None, None))
                url = _next(url, response.headers["Location"])
                continue
            if response.status not in (200, 206):
                raise HttpStatusError(url, response.status, response.headers.get("Retry-After"))
            return [*hops, Hop(url, _total(response), response.headers.get("Last-Modified"))]
    raise DumpError(f"{hops[0].url} leads on through more than {MOST_HOPS} addresses")


def _pool(timeout: urllib3.Timeout = TIMEOUT) -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=timeout, retries=False)


def _request(
    pool: urllib3.PoolManager, method: str, url: str, user_agent: str, headers: dict[str, str]
) -> urllib3.BaseHTTPResponse:
    """One request. Identity encoding, because a .gz that is gzipped once more on the way has another length."""
    every = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
    return pool.request(method, url, headers=every | headers, redirect=False, preload_content=False)


def _next(url: str, location: str) -> str:
    target = urljoin(url, location)
    if urlsplit(target).scheme not in ("http", "https"):
        raise DumpError(f"{url} leads to {target}, which is not on the web")
    return target


def _total(response: urllib3.BaseHTTPResponse) -> int | None:
    """Bytes of the whole file, whatever part of it this answer is."""
    if response.status == 206:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = response.headers.get("Content-Length", "")
    return int(total) if total.isdigit() else None


def _first_byte(response: urllib3.BaseHTTPResponse) -> int | None:
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else None


def _validator(response: urllib3.BaseHTTPResponse) -> str | None:
    """What If-Range may carry (RFC 9110, 13.1.5): a strong entity tag, else the date of the last change."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _seconds(retry_after: str) -> float:
    """Retry-After in seconds: a number, or a date (RFC 9110, 10.2.3); 0 where it is neither."""
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _require_room(path: Path, total: int | None, done: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if total is not None and total - done > free:
        raise DumpError(
            f"{total - done:,} bytes are to come, and {path.parent} has room for {free:,}: "
            "make room, or set BOOK_SEARCH_WORK to a folder on a larger disk"
        )


def _copy(address: Address, target: Path, progress: Progress | None) -> None:
    source = Path(url2pathname(urlsplit(address.url).path))
    partial = target.with_name(target.name + ".part")
    total, done = source.stat().st_size, 0
    _require_room(partial, total, 0)
    with source.open("rb") as read, partial.open("wb") as write:
        while chunk := read.read(CHUNK):
            write.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    partial.replace(target)
