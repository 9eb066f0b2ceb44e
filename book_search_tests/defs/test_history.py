"""What an asset is told of its own past."""

from collections.abc import Iterator

import dagster as dg
import pytest

from book_search.cover_ranges import CoverRange
from book_search.defs.history import LOOKED_BACK, Earlier, earlier
from book_search.defs.partitions import cover_ranges, register_ranges

KEY, OTHER = "0009_9", "0014_6"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        register_ranges(instance, [CoverRange.parse(KEY), CoverRange.parse(OTHER)])
        yield instance


def told(instance: dg.DagsterInstance, partitioned: bool) -> list[Earlier]:
    """What an asset is told when it is made now."""
    seen: list[Earlier] = []

    @dg.asset(partitions_def=cover_ranges if partitioned else None)
    def thing(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        seen.extend(earlier(context))
        return dg.MaterializeResult(metadata={"number": 7})

    assert dg.materialize([thing], instance=instance, partition_key=KEY if partitioned else None).success
    return seen


def report(instance: dg.DagsterInstance, number: int, partition: str | None = None) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "thing", partition=partition, metadata={"number": number, "shown": dg.MetadataValue.md("![](data:,)")}
        )
    )


def test_the_newest_comes_first_and_pictures_are_left_out(instance: dg.DagsterInstance) -> None:
    report(instance, 1)
    report(instance, 2)
    assert [each.metadata for each in told(instance, partitioned=False)] == [{"number": 2}, {"number": 1}]


def test_before_the_first_there_is_nothing(instance: dg.DagsterInstance) -> None:
    assert told(instance, partitioned=False) == []


def test_what_a_run_told_is_there_for_the_next_one(instance: dg.DagsterInstance) -> None:
    told(instance, partitioned=False)
    assert [each.metadata["number"] for each in told(instance, partitioned=False)] == [7]


def test_a_range_finds_its_own_past_behind_that_of_many_others(instance: dg.DagsterInstance) -> None:
    report(instance, 1, KEY)
    for number in range(2, LOOKED_BACK + 12):
        report(instance, number, OTHER)

    found = told(instance, partitioned=True)

    assert [each.metadata["number"] for each in found if each.partition == KEY] == [1]
    assert len([each for each in found if each.partition == OTHER]) == LOOKED_BACK
    assert [each.metadata["number"] for each in found] == sorted(
        (each.metadata["number"] for each in found), reverse=True
    )


def test_what_a_run_told_before_it_broke_off_and_tried_again_is_not_earlier(instance: dg.DagsterInstance) -> None:
    seen: list[Earlier] = []

    @dg.asset
    def thing(context: dg.AssetExecutionContext) -> None:
        context.log_event(dg.AssetMaterialization("thing", metadata={"number": 3}))
        seen.extend(earlier(context))

    assert dg.materialize([thing], instance=instance).success
    assert seen == []
    assert [each.metadata for each in told(instance, partitioned=False)][-1] == {"number": 3}
