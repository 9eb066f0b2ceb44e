"""Covers taken out of a batch's zip, judged as those by id are, and made rows of the ledger.

Whatever a zip does not give is not this module's to settle: it is asked for by id afterwards.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from book_search.openlibrary.archive import ArchiveZip
from book_search.openlibrary.by_id import Clock
from book_search.openlibrary.http import PoliteClient
from book_search.openlibrary.images import MAX_BYTES, inspect
from book_search.openlibrary.ledger import LedgerRow, next_try
from book_search.openlibrary.remote_file import RemoteFileError
from book_search.openlibrary.roads import Road
from book_search.openlibrary.zip_reader import Member, NoRoomError, read_members, read_whole

logger = logging.getLogger(__name__)

# What the covers server would say too. Of all else (an error page, a picture cut off) it may have a better copy.
SETTLED = frozenset({"ok", "placeholder"})


def take_from_zip(
    road: Road,
    archive: ArchiveZip,
    asked: Sequence[int],
    rows: Mapping[int, LedgerRow],
    client: PoliteClient,
    gap: int,
    work: Path,
    now: Clock,
) -> Iterator[tuple[LedgerRow, bytes | None]]:
    """The rows of the asked covers that the zip settles, with the bytes of pictures; nothing for the others.

    A zip that is not there, is none or breaks off is told in the log and ends the rows.

    Args:
        road: `bulk_whole` or `bulk_members`. A whole zip for which there is no room is read by its members.
        rows: what the ledger says of the batch; a picture that is here is not read again to save a request.
        gap: see `read_members`.
        work: a local folder.

    Raises:
        HostPausedError, MissingContactError: from the client.
    """
    names = {cover_id: archive.member(cover_id) for cover_id in asked}
    held = [archive.member(row.cover_id) for row in rows.values() if row.status == "ok" and row.cover_id not in names]
    taken = 0
    try:
        for member in _members(road, archive.url, names, held, client, gap, work):
            if member.body is None:
                logger.debug("cover %d: %s: %s", member.key, archive.member_url(member.key), member.problem)
                continue
            row = _row(member.key, member.body, rows.get(member.key), archive, now())
            if row.status in SETTLED:
                taken += 1
                yield row, member.body if row.status == "ok" else None
    except RemoteFileError as error:
        logger.warning("%s; after %d of %d covers the rest is asked for by id", error, taken, len(asked))


def _members(
    road: Road, url: str, names: Mapping[int, str], held: Collection[str], client: PoliteClient, gap: int, work: Path
) -> Iterator[Member]:
    if road == "bulk_whole":
        try:
            yield from read_whole(client, url, names, MAX_BYTES, work / "zips")
        except NoRoomError as error:
            logger.warning("%s; its members are asked for by Range instead", error)
        else:
            return
    yield from read_members(client, url, names, MAX_BYTES, gap, held)


def _row(cover_id: int, body: bytes, before: LedgerRow | None, archive: ArchiveZip, at: datetime) -> LedgerRow:
    """The row as it would stand had the archive been asked for this member alone."""
    found = inspect(body)
    return LedgerRow(
        cover_id=cover_id,
        status=found.status,
        http_status=200,
        attempts=(before.attempts if before else 0) + 1,
        next_try=next_try(found.status, at),
        bytes=len(body),
        width=found.width,
        height=found.height,
        sha256=found.sha256 if found.status == "ok" else None,
        source_url=archive.member_url(cover_id),
        fetched_at=at,
    )
