"""The jobs by which people and sensors run the road: the catalogue, the covers, the index, and all of it.

The road is three jobs because the ranges of covers exist only once the books are known: a Dagster run is told its
partitions when it starts. `whole_road` runs all assets over ranges known from an earlier month.
"""

import dagster as dg

# Dagster's own messages at DEBUG drown what the assets say.
QUIET = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}

refresh_catalogue = dg.define_asset_job(
    "refresh_catalogue",
    selection=dg.AssetSelection.groups("open_library", "catalogue") | dg.AssetSelection.assets("book_rows"),
    description="The newest dumps, the books chosen from them, and the rows of the book table.",
    config=QUIET,
)

embed_covers = dg.define_asset_job(
    "embed_covers",
    selection=dg.AssetSelection.groups("covers") | dg.AssetSelection.assets("cover_vectors"),
    description="Pictures, embeddings, tags and database rows of one range of covers, or of a span of ranges.",
    config=QUIET,
)

build_search_index = dg.define_asset_job(
    "build_search_index",
    selection=dg.AssetSelection.assets("search_index", "relevance_report"),
    description="The HNSW index built and verified, and the report on how well it finds.",
    config=QUIET,
)

whole_road = dg.define_asset_job(
    "whole_road",
    selection=dg.AssetSelection.all(),
    description="From the dump to the report, for a range, or a span of ranges, that an earlier run has made known.",
    config=QUIET,
)

jobs = [refresh_catalogue, embed_covers, build_search_index, whole_road]
