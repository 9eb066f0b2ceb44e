"""The dumps of Open Library, as published: one asset each for editions, works, authors and redirects."""

import dagster as dg

from book_search.defs.metadata import OWNERS
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.openlibrary.dumps import fetch_dump, find_latest
from book_search.progress import ProgressLog

DESCRIPTIONS = {
    "editions": "Every edition that Open Library knows: title, publisher, date, pages, language, cover ids.",
    "works": "The works that editions are editions of; most subjects and authors stand here.",
    "authors": "The authors' names.",
    "redirects": "Keys that were merged into others.",
}


def dump_asset(kind: str) -> dg.AssetsDefinition:
    """The asset that downloads one kind of dump, where a newer one is published."""

    @dg.asset(
        name=f"{kind.removesuffix('s')}_dump",
        group_name="open_library",
        kinds={"http", "gzip"},
        owners=OWNERS,
        description=f"{DESCRIPTIONS[kind]} The newest monthly dump, resumed after a break and checked to be whole.",
        pool="open_library",  # no retry policy: downloads go on after breaks by themselves, a wrong setting stays wrong
    )
    def dump(
        context: dg.AssetExecutionContext, lake: LakeResource, open_library: OpenLibraryResource
    ) -> dg.MaterializeResult[None]:
        release = find_latest(kind, open_library.settings.open_library_url, open_library.user_agent)
        record = fetch_dump(
            lake.open(), release, open_library.user_agent, progress=ProgressLog(f"{kind} dump", "bytes")
        )
        context.log.info("%s dump of %s: %s", kind, record.date, "downloaded" if record.changed else "already here")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(record.sha256),
            metadata={
                "dump_date": str(record.date),
                "dagster/uri": lake.open().uri(record.path),
                "bytes": record.size,
                "sha256": record.sha256,
                "source": dg.MetadataValue.url(record.source_url),
                "downloaded": record.changed,
            },
        )

    return dump


edition_dump, work_dump, author_dump, redirect_dump = (dump_asset(kind) for kind in DESCRIPTIONS)
