"""The jobs by which people and sensors run the road; what each is for stands in its description, shown in the UI.

The road is three jobs because the ranges of covers exist only once the books are known: a Dagster run is told its
partitions when it starts. `whole_road` runs all assets over ranges known from an earlier month.
"""

from typing import Any

import dagster as dg

# Dagster's own messages at DEBUG drown what the assets say.
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}

# Statuses of covers that may be had after all, once a host, a network or the archive is well again.
FAILURES = ["gave_up", "not_an_image", "blocked_host"]

ONE_RANGE = "Pick ranges in the launchpad: each stands for 100,000 cover ids, and costs little where it is finished."

refresh_catalogue = dg.define_asset_job(
    "refresh_catalogue",
    selection=dg.AssetSelection.groups("open_library", "catalogue") | dg.AssetSelection.assets("book_rows"),
    description="The newest dumps, the books chosen from them, and the rows of the book table. Where no dump is newer, "
    "and the filter is the same, it looks and changes nothing.",
    config=QUIET,
)

embed_covers = dg.define_asset_job(
    "embed_covers",
    selection=dg.AssetSelection.groups("covers") | dg.AssetSelection.assets("cover_vectors"),
    description=f"One range of covers, or a span: pictures, embeddings, tags and database rows. {ONE_RANGE} Afterwards "
    "build_search_index has them searched.",
    config=QUIET,
)

retry_failures = dg.define_asset_job(
    "retry_failures",
    selection=dg.AssetSelection.groups("covers") | dg.AssetSelection.assets("cover_vectors"),
    description="Asks again, now, for covers that failed, whatever their next_try says, and takes what comes in to the "
    "database. The run configuration names the statuses, of: missing, not_an_image, placeholder, too_large, "
    f"undecodable, blocked_host, gave_up. {ONE_RANGE}",
    config=QUIET | {"ops": {"covers": {"config": {"retry_statuses": FAILURES}}}},
)

reembed = dg.define_asset_job(
    "reembed",
    selection=dg.AssetSelection.assets("cover_embeddings", "cover_tags", "cover_vectors"),
    description="Vectors and tags by the model that is set now, from the stored pictures: no cover is asked for. Set "
    "BOOK_SEARCH_MODEL (and REVISION, CROP, FACETS) where Dagster runs, restart it, and launch this for all ranges. "
    "Searches use the old model until build_search_index has verified the new one's index and switches to it, which "
    "it refuses while a range is without vectors by it. The old vectors stay: to go back, no picture is encoded.",
    config=QUIET,
)

build_search_index = dg.define_asset_job(
    "build_search_index",
    selection=dg.AssetSelection.assets("search_index", "relevance_report"),
    description="The HNSW index brought up to the vectors, verified, and switched to, and the report on how well it "
    "finds. It is built anew only where much changed.",
    config=QUIET,
)

rebuild_index = dg.define_asset_job(
    "rebuild_index",
    selection=dg.AssetSelection.assets("search_index"),
    description="The HNSW index built anew whatever changed, in a table beside the one that is searched, and swapped "
    "in once it is verified. For an index that is damaged, or after a new version of pgvector.",
    config=QUIET | {"ops": {"search_index": {"config": {"rebuild": True}}}},
)

measure_search = dg.define_asset_job(
    "measure_search",
    selection=dg.AssetSelection.assets("relevance_report"),
    description="The report alone: recall of the index, covers that find themselves, titles that find their books.",
    config=QUIET,
)

whole_road = dg.define_asset_job(
    "whole_road",
    selection=dg.AssetSelection.all(),
    description="Everything, from the dump to the report, for a range or a span of ranges that an earlier run has made "
    "known. The first time, or for ranges that a new dump brings: refresh_catalogue, embed_covers, build_search_index.",
    config=QUIET,
)

jobs = [
    refresh_catalogue,
    embed_covers,
    retry_failures,
    reembed,
    build_search_index,
    rebuild_index,
    measure_search,
    whole_road,
]
