"""How the work on covers is divided: ranges of cover ids, known once `books` has been made.

What a range is stands in `book_search.cover_ranges`; here is only Dagster's view of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from book_search.cover_ranges import CoverRange

cover_ranges = dg.DynamicPartitionsDefinition(name="cover_range")

# A Dagster run costs seconds, a range may cost minutes: twenty at once keep both small.
many_ranges_a_run = dg.BackfillPolicy.multi_run(max_partitions_per_run=20)

Metadata = Mapping[str, Any]


class UnfinishedError(RuntimeError):
    """A range was left before its end. Attributes: metadata: how far it came."""

    def __init__(self, message: str, metadata: Metadata) -> None:
        super().__init__(message)
        self.metadata = metadata


def register_ranges(instance: dg.DagsterInstance, wanted: list[CoverRange]) -> list[CoverRange]:
    """Make the partitions exactly the `wanted` ranges; returns those that are wanted no more.

    New keys are added lowest first: a run over a span of ranges takes them in the order in which they were added.
    The files of ranges that go are removed later, by `search_index`: checks stand between, and a filter mistyped
    must not cost what took a day to fetch.
    """
    known = set(known_ranges(instance))
    if added := sorted(set(wanted) - known):
        instance.add_dynamic_partitions("cover_range", [each.key for each in added])
    gone = sorted(known - set(wanted))
    for each in gone:
        instance.delete_dynamic_partition("cover_range", each.key)
    return gone


def known_ranges(instance: dg.DagsterInstance) -> list[CoverRange]:
    """The ranges that hold wanted covers, in the order in which they became known."""
    return [CoverRange.parse(key) for key in instance.get_dynamic_partitions("cover_range")]


def for_each_range(
    context: dg.AssetExecutionContext,
    work: Callable[[CoverRange], Metadata],
    *,
    asset_key: dg.AssetKey,
    fatal: tuple[type[Exception], ...] = (),
) -> dg.MaterializeResult[None]:
    """Do `work` on every range of the run and report each with its own metadata.

    A range that fails does not stop the others. The finished ones are then reported one by one before the
    failures are raised: Dagster would otherwise record none of them, and the next run would seem to start anew.
    How far an unfinished one came is an observation of it: it is not materialized, so that it stands among the failed.

    Args:
        fatal: errors after which the ranges that are left are not tried, such as a host that does not answer.

    Raises:
        dg.Failure: some ranges failed; it names each with its error.
    """
    done: dict[str, Metadata] = {}
    failed: dict[str, Exception] = {}
    for key in context.partition_keys:
        try:
            done[key] = work(CoverRange.parse(key))
        except UnfinishedError as error:
            context.log.warning(f"cover range {key}: {error}")
            context.log_event(dg.AssetObservation(asset_key, partition=key, metadata=dict(error.metadata)))
            failed[key] = error
        except Exception as error:
            context.log.exception("cover range %s failed", key)
            failed[key] = error
            if isinstance(error, fatal):
                break
    if failed:
        for key, metadata in done.items():
            context.log_event(dg.AssetMaterialization(asset_key, partition=key, metadata=dict(metadata)))
        names = "; ".join(f"{key}: {error}" for key, error in failed.items())
        only = next(iter(failed.values()))
        raise dg.Failure(f"{len(failed)} of {len(failed) + len(done)} cover ranges failed: {names}") from only
    for key, metadata in done.items():
        context.add_asset_metadata(dict(metadata), partition_key=key)
    return dg.MaterializeResult(asset_key=asset_key)
