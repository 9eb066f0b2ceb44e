"""From which state of a range's files the database was loaded last: written by `cover_vectors`, read by the sensor.

Knows the metadata entry that carries it; what a state is stands in `openlibrary.needs`. It is read from Dagster's
records, not from Postgres: a tick costs one query so, and starts no embedded server.
"""

import hashlib
from collections.abc import Iterable, Sequence

import dagster as dg

from book_search.clip.embeddings import embeddings_folder, is_embedded
from book_search.clip.model import ModelDescription
from book_search.clip.zero_shot import Facet, is_tagged, tags_folder
from book_search.cover_ranges import CoverRange
from book_search.defs.resources import ClipResource, DatabaseResource
from book_search.lake import Lake

COVER_VECTORS = dg.AssetKey("cover_vectors")
LOADED_FROM = "loaded_from"  # the metadata entry
UNFINISHED = "an unfinished state"  # equal to no state: the range stays among those that need a run
RECORDS_A_QUERY = 500


class Maker:
    """What makes vectors and tags of a range's covers, and where they go: the settings of one moment."""

    def __init__(self, description: ModelDescription, facets: Sequence[Facet], database: str) -> None:
        self.description, self.facets = description, tuple(facets)
        self.name = f"{description.identity} {hashlib.sha256(repr(self.facets).encode()).hexdigest()} {database}"

    @classmethod
    def of(cls, clip: ClipResource, postgres: DatabaseResource) -> "Maker":
        """As the settings are now."""
        return cls(clip.describe(), clip.facets, postgres.place)

    def folders(self, cover_range: CoverRange) -> tuple[str, str]:
        """Where a range's vectors and tags lie in the lake."""
        return embeddings_folder(self.description.identity, cover_range), tags_folder(self.description, cover_range)

    def has_finished(self, lake: Lake, cover_range: CoverRange) -> bool:
        """Whether a range's vectors and tags are those of its pictures."""
        return is_embedded(lake, cover_range, self.description) and is_tagged(
            lake, cover_range, self.description, self.facets
        )


def loaded_states(instance: dg.DagsterInstance, ranges: Iterable[CoverRange]) -> dict[CoverRange, str]:
    """The state that each range was loaded from last; without those that never were."""
    keys = {each.key for each in ranges}
    latest = instance.get_latest_storage_id_by_partition(
        COVER_VECTORS, dg.DagsterEventType.ASSET_MATERIALIZATION, partitions=keys
    )
    ids, states = sorted(latest.values()), dict[CoverRange, str]()
    for start in range(0, len(ids), RECORDS_A_QUERY):
        wanted = dg.AssetRecordsFilter(asset_key=COVER_VECTORS, storage_ids=ids[start : start + RECORDS_A_QUERY])
        for record in instance.fetch_materializations(wanted, limit=RECORDS_A_QUERY).records:
            event = record.asset_materialization
            if event is not None and event.partition is not None and LOADED_FROM in event.metadata:
                states[CoverRange.parse(event.partition)] = str(event.metadata[LOADED_FROM].value)
    return states
