"""The covers of the wanted books, range by range: their pictures, their embeddings, their tags."""

from collections.abc import Iterator
from functools import cache

import dagster as dg
from pydantic import Field

from book_search.clip.embeddings import embed_range
from book_search.clip.soundness import VectorsLook, look_at_vectors
from book_search.clip.zero_shot import tag_range
from book_search.cover_ranges import CoverRange
from book_search.defs.checks import COVERS_CHECKS, EMBEDDINGS_CHECKS, judge_found, judge_vectors
from book_search.defs.history import earlier
from book_search.defs.metadata import OWNERS, columns
from book_search.defs.partitions import (
    Metadata,
    UnfinishedError,
    cover_ranges,
    for_each_range,
    many_ranges_a_run,
)
from book_search.defs.resources import ClipResource, LakeResource, OpenLibraryResource
from book_search.defs.shown import shown_of_covers, shown_of_embeddings, shown_of_tags
from book_search.evaluation.usual import Share
from book_search.openlibrary.catalogue import wanted_covers
from book_search.openlibrary.contact_sheet import contact_sheet
from book_search.openlibrary.covers import Fetching, fetch_range, iter_images
from book_search.openlibrary.deny_list import read_deny_list
from book_search.openlibrary.http import BlockedHostError, MissingContactError
from book_search.openlibrary.ledger import known_statuses
from book_search.progress import ProgressLog
from book_search.schemas import COVERS, TAGS


class CoversConfig(dg.Config):
    """What a run of `covers` may be told."""

    retry_statuses: list[str] = Field(
        default_factory=list,
        description="Covers of these statuses are asked for again now, such as gave_up or not_an_image.",
    )


@dg.asset(
    deps=["books"],
    partitions_def=cover_ranges,
    backfill_policy=many_ranges_a_run,
    group_name="covers",
    kinds={"http", "parquet"},
    owners=OWNERS,
    pool="covers_host",
    metadata={"dagster/column_schema": columns(COVERS)},
    check_specs=COVERS_CHECKS,
)
def covers(
    context: dg.AssetExecutionContext, config: CoversConfig, lake: LakeResource, open_library: OpenLibraryResource
) -> Iterator[dg.MaterializeResult[None]]:
    """The picture of every wanted cover, and a ledger that says of each id how it went. Asks for none twice.

    What a batch's time or the hours for asking leave undone is in the metadata, and the next run's. Where a host is
    paused, by itself or after a streak of failures, the run fails in the end, with what came in kept.
    """
    settings, files = open_library.settings, lake.open()
    denied = read_deny_list(files, settings.deny_list)
    wanted = {key: wanted_covers(files, CoverRange.parse(key)) for key in context.partition_keys}
    how = Fetching(
        open_library.covers_client,
        settings.covers_url,
        settings.cover_size,
        rule=open_library.road_rule,
        known=open_library.known_covers(files, [cover_id for ids in wanted.values() for cover_id in ids]),
        limits=open_library.covers_limits,
        retry_statuses=known_statuses(config.retry_statuses),
    )
    found: dict[str, Share] = {}
    before = earlier(context)

    def fetch(cover_range: CoverRange) -> Metadata:
        progress = ProgressLog(f"covers {cover_range.key}", "covers")
        report = fetch_range(files, cover_range, wanted[cover_range.key], how, progress)
        # Dagster keeps metadata for ever: who has to take pictures down shows none of them there.
        shown = () if denied else (each.image for each in iter_images(files, cover_range))
        sheet = contact_sheet(shown)
        found[cover_range.key] = Share(report.statuses.get("ok", 0), sum(report.statuses.values()))
        metadata = shown_of_covers(files, cover_range, report, sheet)
        if report.paused:  # nobody planned that, unlike an end of the batch's time or of the hours for asking
            left = sum(report.left.values())
            raise UnfinishedError(f"{left:,} covers are left for the next run: {report.paused[-1]}", metadata)
        return metadata

    for_each_range(context, fetch, asset_key=context.asset_key, fatal=(BlockedHostError, MissingContactError))
    yield dg.MaterializeResult(asset_key=context.asset_key, check_results=[judge_found(found, before)])


@dg.asset(
    deps=[covers],
    partitions_def=cover_ranges,
    backfill_policy=many_ranges_a_run,
    group_name="covers",
    kinds={"pytorch", "parquet"},
    owners=OWNERS,
    pool="embedding",
    check_specs=EMBEDDINGS_CHECKS,
)
def cover_embeddings(
    context: dg.AssetExecutionContext, lake: LakeResource, clip: ClipResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """CLIP's vector of every picture, computed once for each (picture, model, revision, preprocessing)."""
    files, description, load_clip = lake.open(), clip.describe(), cache(clip.load)
    looks: dict[str, VectorsLook] = {}

    def embed(cover_range: CoverRange) -> Metadata:
        progress = ProgressLog(f"embeddings {cover_range.key}", "covers")
        report = embed_range(files, cover_range, description, load_clip, progress=progress)
        look = looks[cover_range.key] = look_at_vectors(files, description.identity, cover_range)
        metadata = shown_of_embeddings(files, cover_range, report, description, look.vectors)
        if not look.sound:  # it fails alone; the others of the run are recorded
            raise UnfinishedError(f"its vectors are not sound: {look.as_metadata()}", metadata)
        return metadata

    try:
        result = for_each_range(context, embed, asset_key=context.asset_key)
    except dg.Failure:
        yield judge_vectors(looks)
        raise
    yield judge_vectors(looks)
    yield result


@dg.asset(
    deps=[cover_embeddings],
    partitions_def=cover_ranges,
    backfill_policy=many_ranges_a_run,
    group_name="covers",
    kinds={"pytorch", "parquet"},
    owners=OWNERS,
    pool="embedding",
    metadata={"dagster/column_schema": columns(TAGS)},
)
def cover_tags(context: dg.AssetExecutionContext, lake: LakeResource, clip: ClipResource) -> dg.MaterializeResult[None]:
    """What CLIP sees on each cover, facet by facet, from the stored vectors alone; no picture is read again."""
    files, description, load_clip, facets = lake.open(), clip.describe(), cache(clip.load), clip.facets

    def tag(cover_range: CoverRange) -> Metadata:
        report = tag_range(files, cover_range, description, load_clip, facets)
        return shown_of_tags(files, cover_range, report, description)

    return for_each_range(context, tag, asset_key=context.asset_key)
