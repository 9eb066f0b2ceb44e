"""Covers and editions that must not be kept nor shown, whatever the dumps say: a text file that its owner edits.

Knows how the file is found and read; that the catalogue leaves out what it names, and so all stages after it, is the
catalogue's part.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from book_search.lake import Lake

DEFAULT_PATH = "deny.txt"  # in the lake
COVER = re.compile(r"[0-9]{1,12}")
EDITION = re.compile(r"(?:/books/)?(OL[0-9]+M)")


class DenyListError(ValueError):
    """The deny list cannot be read; nothing is chosen until it can."""


@dataclass(frozen=True)
class DenyList:
    """What is denied, in order.

    Attributes:
        cover_ids: pictures that nobody may have; their books stay, without a cover.
        edition_keys: editions such as OL123M, that leave with their covers.
    """

    cover_ids: tuple[int, ...] = ()
    edition_keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cover_ids or self.edition_keys)

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The lists as tables `denied_cover` and `denied_edition`."""
        return {
            "denied_cover": pa.table({"cover_id": pa.array(self.cover_ids, pa.int64())}),
            "denied_edition": pa.table({"edition_key": pa.array(self.edition_keys, pa.string())}),
        }


def read_deny_list(lake: Lake, place: str | None = None) -> DenyList:
    """The deny list as it stands now.

    Args:
        lake: its file `deny.txt` is the list where no other is named; without it nothing is denied.
        place: a path, or an s3:// address.

    Raises:
        DenyListError: the list that is named is not there, or a line of one is neither an id nor a key.
    """
    if place is None:
        if not lake.exists(DEFAULT_PATH):
            return DenyList()
        return parse_deny_list(lake.read_bytes(DEFAULT_PATH), lake.uri(DEFAULT_PATH))
    try:
        return parse_deny_list(_content(lake, place), place)
    except OSError as error:
        raise DenyListError(
            f"BOOK_SEARCH_DENY_LIST={place} cannot be read ({error}); correct it, or leave it empty to deny nothing"
        ) from error


def parse_deny_list(content: bytes, name: str) -> DenyList:
    """One cover id or edition key a line; `#` begins a comment. Raises DenyListError; `name` is the file's in it."""
    covers: set[int] = set()
    editions: set[str] = set()
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if COVER.fullmatch(entry):
            covers.add(int(entry))
        elif key := EDITION.fullmatch(entry):
            editions.add(key[1])
        elif entry:
            raise DenyListError(
                f"{name}, line {number}: {entry[:80]!r} is neither a cover id such as 14600001 nor an edition key such "
                f"as OL123M; a comment begins with #"
            )
    return DenyList(tuple(sorted(covers)), tuple(sorted(editions)))


def _content(lake: Lake, place: str) -> bytes:
    parts = urlsplit(place)
    if parts.scheme == "s3":
        filesystem = fs.S3FileSystem() if lake.is_local else lake.filesystem
        with filesystem.open_input_stream(f"{parts.netloc}{parts.path}") as stream:
            return bytes(stream.read())
    if "://" in place:
        raise OSError("it is neither a path nor s3://bucket/key")
    return Path(place).read_bytes()
