"""Open Library's monthly dumps: which is the newest, and getting it into the lake whole.

Knows addresses, downloads and what a whole file is; nothing of what the dumps' lines say.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from book_search.alone import alone_at
from book_search.lake import Lake
from book_search.openlibrary.download import Address, HttpStatusError, Retry, download, head
from book_search.openlibrary.lines import DamagedDumpError, DumpError, EmptyDumpError, Reject, rejects_table, unpacked
from book_search.openlibrary.records import check_dump

__all__ = [
    "COVERS_METADATA",
    "DUMP_KINDS",
    "DamagedDumpError",
    "DumpError",
    "DumpNotFoundError",
    "DumpRecord",
    "DumpRelease",
    "EmptyDumpError",
    "current_dump",
    "fetch_dump",
    "find_latest",
]

DUMP_KINDS = ("editions", "works", "authors", "redirects")
COVERS_METADATA = "covers_metadata"  # a dump beside the road's own: sizes of covers, read by `metadata_dump`
OPTIONAL_KINDS = frozenset({"redirects"})  # without it, merged works and authors keep their old keys
UNPUBLISHED = date.min  # older than every dump, so that none is ever replaced by it
LATEST = "data/ol_dump_{kind}_latest.txt.gz"  # under Open Library's own address
DATED_NAME = re.compile(r"ol_dump_[a-z_]+?_(\d{4}-\d{2}-\d{2})\.txt\.gz$")
EMPTY_GZIP = bytes.fromhex("1f8b080000000000000303000000000000000000")


class DumpNotFoundError(DumpError):
    """No dump of this kind at this address."""


@dataclass(frozen=True)
class DumpRelease:
    """A dump that can be fetched.

    Args:
        date: as its file's name says; `date.min` for an optional dump that is not published.
        url: the address that keeps: the dated one, not the mirror it led to.
        size: bytes of the gzip; None where the server does not tell.
        version: of a local file, its time of change; None for HTTP, where mirrors disagree.
    """

    kind: str
    date: date
    url: str
    size: int | None
    version: str | None = None

    @property
    def published(self) -> bool:
        """False for a dump that the road goes on without."""
        return self.date != UNPUBLISHED


@dataclass(frozen=True)
class DumpRecord:
    """A dump that lies in the lake, whole.

    Args:
        path: in the lake. For a dump that is not published, a gzip of nothing.
        sha256: hexadecimal, of the gzip.
        rejects: where in the lake its lines that cannot be read are listed, as schemas.REJECTS; None where its records
            were not looked at.
        lines: records in it; None where they were not counted.
        changed: whether this call fetched it.
    """

    kind: str
    date: date
    path: str
    size: int
    sha256: str
    source_url: str
    fetched_at: datetime
    version: str | None = None
    rejects: str | None = None
    lines: int | None = None
    changed: bool = False

    @property
    def published(self) -> bool:
        """False for an optional dump that was not there: the road goes on with none."""
        return self.date != UNPUBLISHED


def find_latest(kind: str, base_url: str, user_agent: str, retry: Retry | None = None) -> DumpRelease:
    """The newest dump of a kind.

    Args:
        kind: one of `DUMP_KINDS`, or `COVERS_METADATA`.
        base_url: where to look: Open Library's address, asked for `data/ol_dump_{kind}_latest.txt.gz`; the address of
            the files themselves with `{kind}` in it; or `file://` with a folder, or with `{kind}` in a file's name.
        user_agent: how the request introduces itself.
        retry: how long to go on after refusals; the default suits Open Library.

    Raises:
        DumpNotFoundError: there is none, and the road needs one.
        DumpError: the server cannot be reached, or tells no date.
    """
    if kind not in (*DUMP_KINDS, COVERS_METADATA):
        raise ValueError(f"no kind of dump: {kind!r}; there are {', '.join(DUMP_KINDS)}")
    if urlsplit(base_url).scheme == "file":
        return _latest_file(kind, base_url)
    url = base_url if "{kind}" in base_url else f"{base_url.rstrip('/')}/{LATEST}"
    url = url.replace("{kind}", kind)
    try:
        hops = head(url, user_agent, retry or Retry())
    except HttpStatusError as error:
        if error.status not in (404, 410):
            raise
        return _none_published(kind, url)
    for hop in hops:
        if named := DATED_NAME.search(urlsplit(hop.url).path):
            return DumpRelease(kind, date.fromisoformat(named[1]), hop.url, hops[-1].size)
    if hops[-1].last_modified:
        return DumpRelease(kind, parsedate_to_datetime(hops[-1].last_modified).date(), url, hops[-1].size)
    raise DumpError(f"{url} leads to {hops[-1].url}, whose name holds no date; give an address with a dated name")


@alone_at(lambda _, release, *__, **___: (f"the dump of {release.kind}", f"dumps/{release.kind}"))
def fetch_dump(
    lake: Lake,
    release: DumpRelease,
    user_agent: str,
    progress: Callable[[int, int | None], None] | None = None,
    retry: Retry | None = None,
) -> DumpRecord:
    """Get a release into the lake, unless it or a newer one is there; a break costs only what was under way.

    The file is checked to be a whole gzip of something, and every record in it to be one that can be read, before the
    record of the current dump turns to it; the dump before it is removed after that.

    Args:
        release: from `find_latest`.
        user_agent: how the requests introduce themselves.
        progress: called with (bytes done, bytes in all or None).
        retry: how long to go on after breaks and refusals.

    Raises:
        EmptyDumpError: the release holds nothing; the dump before it stays current.
        DamagedDumpError: the gzip is broken, twice fetched; the dump before it stays current.
        DumpError: the server gave up, or the disk is too small.
    """
    current = current_dump(lake, release.kind)
    if current is not None and _is_as_new(current, release):
        _remove_others(lake, current)
        return current
    if not release.published:
        return _publish_none(lake, release)
    local = lake.work / "downloads" / f"ol_dump_{release.kind}_{release.date}.txt.gz"
    local.parent.mkdir(parents=True, exist_ok=True)
    retry = retry or Retry()
    for attempt in (1, 2):
        download(Address(release.url, user_agent, release.size), local, progress, retry)
        try:
            sha256, lines, rejects = check_whole(local, release.kind, lake.work / "catalogue-work")
            break
        except (DamagedDumpError, EmptyDumpError) as error:
            local.unlink()
            if attempt == 2 or isinstance(error, EmptyDumpError):
                raise type(error)(f"{release.url}: {error}. {_what_stays(current)}") from error
    path = f"dumps/{release.kind}/{local.name}"
    record = DumpRecord(
        kind=release.kind,
        date=release.date,
        path=path,
        size=local.stat().st_size,
        sha256=sha256,
        source_url=release.url,
        fetched_at=datetime.now(UTC).replace(microsecond=0),
        version=release.version,
        rejects=None if rejects is None else path.replace(".txt.gz", ".rejects.parquet"),
        lines=lines,
        changed=True,
    )
    lake.publish(local, path)
    if record.rejects is not None and rejects is not None:
        lake.write_table(record.rejects, rejects_table(release.kind, rejects))
    _write_record(lake, record)
    _remove_others(lake, record)
    return record


def current_dump(lake: Lake, kind: str) -> DumpRecord | None:
    """The dump of a kind that the lake holds, or None before the first."""
    if not lake.exists(_record_path(kind)):
        return None
    content = json.loads(lake.read_bytes(_record_path(kind)))
    content["date"] = date.fromisoformat(content["date"])
    content["fetched_at"] = datetime.fromisoformat(content["fetched_at"])
    record = DumpRecord(**content)
    return record if lake.exists(record.path) else None


def known_rejects(lake: Lake, dump: DumpRecord) -> list[Reject] | None:
    """The lines of a dump that cannot be read, in order; None where its records were not looked at."""
    if dump.rejects is None or not lake.exists(dump.rejects):
        return None
    rows = lake.read_table(dump.rejects).to_pylist()
    return [Reject(row["line"], row["reason"], row["content"]) for row in rows]


def check_whole(path: Path, kind: str, work_folder: Path) -> tuple[str, int | None, list[Reject] | None]:
    """Read a gzip through to its end: its sha256 as hexadecimal, its lines, and those whose record cannot be read.

    Args:
        kind: of the dump; where it is not of `DUMP_KINDS`, None comes in place of the lines.
        work_folder: for scratch files.

    Raises:
        DamagedDumpError: it is no gzip, is cut off, or its CRC or length is not that of its content.
        EmptyDumpError: nothing is in it.
    """
    if not path.stat().st_size:
        raise EmptyDumpError(f"{path.name} has no bytes")
    digest, rejects, lines = hashlib.sha256(), None, None
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            raise DamagedDumpError(f"{path.name} is no gzip; something else answered in its place")
    if kind in DUMP_KINDS:
        found = check_dump(path, kind, work_folder, on_read=digest.update)
        rejects, lines = found.rejects, found.lines
        empty = not lines
    else:
        empty = not sum(len(piece) for piece in unpacked(path, on_read=digest.update))
    if empty:
        raise EmptyDumpError(f"{path.name} is a gzip of nothing")
    return digest.hexdigest(), lines, rejects


def _remove_others(lake: Lake, current: DumpRecord) -> None:
    """Remove the dumps before the current one, and what of them was downloaded in part."""
    for old in lake.names(f"dumps/{current.kind}"):
        if old not in (current.path, current.rejects):
            lake.delete(old)
    for part in (lake.work / "downloads").glob(f"ol_dump_{current.kind}_*"):
        part.unlink()


def _is_as_new(current: DumpRecord, release: DumpRelease) -> bool:
    if current.date != release.date:
        return current.date > release.date
    return release.size in (None, current.size) and release.version == current.version


def _latest_file(kind: str, base_url: str) -> DumpRelease:
    """The newest file of a kind in a folder, or the one that the address names."""
    path = Path(url2pathname(urlsplit(base_url.replace("{kind}", kind)).path))
    found = [path] if path.is_file() else []
    for folder in (path, path / "data"):
        found += folder.glob(f"ol_dump_{kind}_*.txt.gz") if folder.is_dir() else []
    releases = []
    for file in found:
        named, status = DATED_NAME.search(file.resolve().name), file.stat()
        changed = datetime.fromtimestamp(status.st_mtime, UTC).date()
        of = date.fromisoformat(named[1]) if named else changed
        releases.append(DumpRelease(kind, of, file.resolve().as_uri(), status.st_size, str(status.st_mtime_ns)))
    return max(releases, key=lambda release: release.date) if releases else _none_published(kind, path.as_uri())


def _none_published(kind: str, url: str) -> DumpRelease:
    if kind not in OPTIONAL_KINDS:
        raise DumpNotFoundError(f"there is no dump of {kind} at {url}; look at BOOK_SEARCH_OPEN_LIBRARY_URL")
    return DumpRelease(kind, UNPUBLISHED, url, None)


def _publish_none(lake: Lake, release: DumpRelease) -> DumpRecord:
    """The record of a dump that the road goes on without, with a gzip of nothing in its place."""
    path = f"dumps/{release.kind}/none.txt.gz"
    now = datetime.now(UTC).replace(microsecond=0)
    sha256 = hashlib.sha256(EMPTY_GZIP).hexdigest()
    record = DumpRecord(
        release.kind, UNPUBLISHED, path, len(EMPTY_GZIP), sha256, release.url, now, lines=0, changed=True
    )
    lake.write_bytes(path, EMPTY_GZIP)
    _write_record(lake, record)
    return record


def _write_record(lake: Lake, record: DumpRecord) -> None:
    content = asdict(record)
    del content["changed"]
    content |= {"date": record.date.isoformat(), "fetched_at": record.fetched_at.isoformat()}
    lake.write_bytes(_record_path(record.kind), json.dumps(content, indent=2).encode())


def _record_path(kind: str) -> str:
    return f"dumps/{kind}.json"


def _what_stays(current: DumpRecord | None) -> str:
    if current is None:
        return "There is no older dump to go on with: try again later, or set an address of an older one"
    return f"The dump of {current.date} stays current; try again later"
