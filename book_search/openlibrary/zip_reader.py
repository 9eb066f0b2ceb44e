"""Members of a zip behind HTTP: some of them by Range through its central directory, or all after one download.

Knows zips and requests; nothing of covers. What a zip's bytes mean is the standard library's part (`zipfile`: zip64,
archive comments, stored and deflated members, CRC); here is which bytes it gets to see.
"""

import errno
import io
import itertools
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from book_search.openlibrary.answers import BrokenOffError
from book_search.openlibrary.http import BlockedHostError, GaveUpError, PoliteClient, TooLargeError
from book_search.openlibrary.remote_file import Pieces, RemoteFile, RemoteFileError
from book_search.openlibrary.stream import Stream
from book_search.openlibrary.zip_segments import LONGEST_SEGMENT, TAIL, segments

LARGEST_ZIP = 4 << 30  # bytes; ten thousand covers of size L are some 360 MB
LOCAL_HEADER = 30  # bytes before a member's name (APPNOTE.TXT 4.3.7)
LARGEST_DIRECTORY = (
    8 << 20
)  # bytes, that become some ten times as many in memory; one of 10,000 members has one megabyte
COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # others are unpacked at once, however much comes
SPARE = 1 << 10  # bytes: the local header may have longer extra fields than the directory's entry
DOWNLOADS = 5  # of one zip: the first, and what goes on where it broke off
ROOM_LEFT = 256 << 20  # bytes that a download leaves free on the disk

# What the standard library raises on a broken zip or member; which of them depends on the damage.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    KeyError,
    OSError,
    OverflowError,
    NotImplementedError,  # a compression that it does not know
)
ENCRYPTED = 1  # bit of a member's flags (APPNOTE.TXT 4.4.4)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ZipError(RemoteFileError):
    """What there is, is no zip that can be read."""


class NoRoomError(ZipError):
    """A zip does not fit on the disk."""


@dataclass(frozen=True)
class Member:
    """What a zip holds under a name.

    Attributes:
        key: the caller's.
        body: whole and of the right CRC; None where there is none such.
        problem: why there is none; empty where there is.
    """

    key: int
    body: bytes | None
    problem: str = ""


def read_members(
    client: PoliteClient,
    url: str,
    names: Mapping[int, str],
    max_bytes: int,
    gap: int,
    held: Collection[str] = frozenset(),
) -> Iterator[Member]:
    """Some members of a remote zip: a request or two for the directory, then one for each stretch of members.

    Args:
        url: of the zip; after a redirect the node that it led to is asked directly.
        names: of the members, by a key of the caller's.
        max_bytes: of one member, unpacked; larger ones are a problem.
        gap: bytes between two members that are read in vain to save a request.
        held: names of members that are not to be read in vain.

    Raises:
        RemoteFileError: there is no zip, or it broke off; members that came before have been handed out.
        HostPausedError, MissingContactError: from the client.
    """
    source = RemoteFile(client, url)
    size, start, tail = source.end(TAIL)
    file = Pieces(size, start, tail, source.part)
    with _opened(file) as archive:
        file.seal()
        entries = _entries(archive)
        spans, ends = [], _ends(archive)
        for key, name in names.items():
            problem = _unreadable(entries.get(name), max_bytes)
            if problem is not None:
                yield Member(key, None, problem)
            elif not 0 <= entries[name].header_offset < archive.start_dir:
                yield Member(key, None, "it is broken: it does not lie in the zip")
            else:
                spans.append((key, entries[name].header_offset, _end_of(entries[name], ends)))
        spans.sort(key=lambda span: span[1])
        barriers = sorted(entries[name].header_offset for name in held if name in entries)
        for part in segments((span for span in spans if not file.holds(span[1], span[2])), barriers, gap):
            file.add(part.start, source.part(part.start, part.end))
            for key in part.cover_ids:
                yield _member(archive, key, entries[names[key]], max_bytes)
        for key, first, end in spans:
            if file.holds(first, end):
                yield _member(archive, key, entries[names[key]], max_bytes)


def read_whole(
    client: PoliteClient, url: str, names: Mapping[int, str], max_bytes: int, folder: Path
) -> Iterator[Member]:
    """The same members from one download of the whole zip, in the order in which they lie there.

    The download has no name on the disk: the system takes it back however the process ends.

    Args:
        folder: where there is room for the zip; made where it is missing.

    Raises:
        NoRoomError: there is not.
        RemoteFileError: there is no zip; members that came before have been handed out.
        HostPausedError, MissingContactError: from the client.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        _download(client, url, file, folder)
        with _opened(_Sips(file)) as archive:
            entries = _entries(archive)
            lying = sorted(names, key=lambda key: entries[names[key]].header_offset if names[key] in entries else -1)
            for key in lying:
                yield _member(archive, key, entries.get(names[key]), max_bytes)


class _Sips(io.RawIOBase):
    """A file of which no more is read at once than a directory may have, whatever the zip says of its length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        return self._file.read(LARGEST_DIRECTORY if size is None or size < 0 else min(size, LARGEST_DIRECTORY))


def _opened(file: io.RawIOBase) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(cast(IO[bytes], file))
    except BROKEN as error:
        raise ZipError(f"no zip that can be read: {error}") from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by the last part of their names: some archivers put the folder before it."""
    return {entry.filename.rpartition("/")[2]: entry for entry in archive.infolist()}


def _ends(archive: zipfile.ZipFile) -> dict[int, int]:
    """Where what follows a member begins, by where the member begins."""
    starts = sorted({entry.header_offset for entry in archive.infolist()})
    return dict(zip(starts, [*starts[1:], archive.start_dir], strict=True))


def _end_of(entry: zipfile.ZipInfo, ends: Mapping[int, int]) -> int:
    """A byte after the member's last, and as little more as is certain to be enough."""
    name = len(entry.filename.encode()) + len(entry.extra)
    certain = entry.header_offset + LOCAL_HEADER + name + SPARE + entry.compress_size
    return max(min(ends[entry.header_offset], certain), entry.header_offset + LOCAL_HEADER)


def _unreadable(entry: zipfile.ZipInfo | None, max_bytes: int) -> str | None:
    """Why a member is not worth asking for, if so."""
    if entry is None:
        return "it is not in the zip"
    if entry.file_size == 0:
        return "it has no bytes"
    if entry.file_size > max_bytes or entry.compress_size > LONGEST_SEGMENT:
        return "it is too large"
    if entry.compress_type not in COMPRESSIONS:
        return "it is packed in a way that is not unpacked here"
    return "it wants a password" if entry.flag_bits & ENCRYPTED else None


def _member(archive: zipfile.ZipFile, key: int, entry: zipfile.ZipInfo | None, max_bytes: int) -> Member:
    problem = _unreadable(entry, max_bytes)
    if entry is None or problem is not None:
        return Member(key, None, problem or "")
    try:
        with archive.open(entry) as file:
            return Member(key, file.read(max_bytes + 1))  # to its end, where the CRC is compared
    except (*BROKEN, RemoteFileError) as error:
        return Member(key, None, f"it is broken: {error}")


def _download(client: PoliteClient, url: str, file: IO[bytes], folder: Path) -> None:
    """The whole zip into a file; a body that breaks off is gone on with where it broke."""
    for times in itertools.count(1):
        try:
            with client.open(url, {"Range": f"bytes={file.tell()}-"} if file.tell() else None, LARGEST_ZIP) as stream:
                _take(stream, url, file, folder)
        except BrokenOffError as error:
            if times == DOWNLOADS:
                raise ZipError(str(error)) from error
        except (GaveUpError, BlockedHostError, TooLargeError) as error:
            raise ZipError(str(error)) from error
        else:
            return


def _take(stream: Stream, url: str, file: IO[bytes], folder: Path) -> None:
    """The rest of a zip, or the whole where that is what came. What is no zip is not read to its end."""
    if stream.status == 200:
        file.seek(0)
        file.truncate()
    elif stream.status != 206 or not stream.headers.get("Content-Range", "").startswith(f"bytes {file.tell()}-"):
        raise ZipError(f"{url} answered HTTP {stream.status}")
    _require_room(stream.length, url, folder)
    try:
        for chunk in stream:
            if file.tell() == 0 and not chunk.startswith(b"PK"):
                raise ZipError(f"{url} is no zip: it begins with {chunk[:20]!r}")
            file.write(chunk)
        file.flush()
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoRoomError(f"{url} does not fit into {folder}: {error.strerror}") from error


def _require_room(length: int | None, url: str, folder: Path) -> None:
    free = shutil.disk_usage(folder).free - ROOM_LEFT
    if length is not None and length > free:
        raise NoRoomError(f"{url} has {length:,} bytes, and {folder} has room for {max(free, 0):,}")
