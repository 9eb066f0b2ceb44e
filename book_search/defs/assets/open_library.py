"""The dumps of Open Library, as published: one asset each for editions, works, authors and redirects."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from book_search.defs.checks import PUBLISHED_EVERY, dump_checks, judge_dump
from book_search.defs.history import earlier
from book_search.defs.metadata import OWNERS
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.defs.retries import NETWORK, again_later
from book_search.defs.shown import shown_of_dump
from book_search.openlibrary.catalogue import catalogue_record
from book_search.openlibrary.dumps import fetch_dump, find_latest
from book_search.openlibrary.soundness import faults_of_dump
from book_search.progress import ProgressLog

DESCRIPTIONS = {
    "editions": "Every edition that Open Library knows: title, publisher, date, pages, language, cover ids.",
    "works": "The works that editions are editions of; most subjects and authors stand here.",
    "authors": "The authors' names.",
    "redirects": "Keys that were merged into others.",
}


def dump_asset(kind: str) -> dg.AssetsDefinition:
    """The asset that downloads one kind of dump, where a newer one is published."""
    name = f"{kind.removesuffix('s')}_dump"

    @dg.asset(
        name=name,
        group_name="open_library",
        kinds={"http", "gzip"},
        owners=OWNERS,
        description=f"{DESCRIPTIONS[kind]} The newest monthly dump, resumed after a break and checked to be whole.",
        pool="open_library",
        check_specs=dump_checks(name),
        freshness_policy=PUBLISHED_EVERY,
    )
    def dump(
        context: dg.AssetExecutionContext, lake: LakeResource, open_library: OpenLibraryResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        files, began = lake.open(), time.monotonic()
        with again_later(NETWORK):  # a wrong setting stays wrong, and is told at once
            release = find_latest(kind, open_library.settings.open_library_url, open_library.user_agent)
            record = fetch_dump(files, release, open_library.user_agent, progress=ProgressLog(f"{kind} dump", "bytes"))
        seconds = time.monotonic() - began
        # What was just written is read again, whole; what has lain there since was, and costs minutes to read.
        faults = faults_of_dump(files, record, read=record.changed)
        before, made = earlier(context), catalogue_record(files)
        chosen = made is not None and made.is_from(record)
        context.log.info("%s dump of %s: %s", kind, record.date, "downloaded" if record.changed else "already here")
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(record.sha256),
            metadata=shown_of_dump(files, record, seconds),
            check_results=judge_dump(record, faults, before, datetime.now(UTC).date(), chosen),
        )

    return dump


edition_dump, work_dump, author_dump, redirect_dump = (dump_asset(kind) for kind in DESCRIPTIONS)
