"""Ranges of covers as Dagster's partitions: registered, run many at once, failing alone."""

import dagster as dg
import pytest

from book_search.cover_ranges import CoverRange
from book_search.defs.partitions import cover_ranges, for_each_range, many_ranges_a_run, register_ranges
from book_search.defs.range_runs import RANGE_END, RANGE_START

KEYS = ["0009_9", "0012_3", "0014_6"]


def _run(instance: dg.DagsterInstance, bad: str | None = None) -> dg.ExecuteInProcessResult:
    @dg.asset(partitions_def=cover_ranges, backfill_policy=many_ranges_a_run)
    def covers(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        def work(cover_range: CoverRange) -> dict[str, int]:
            if cover_range.key == bad:
                raise ValueError("the server is down")
            return {"first": cover_range.first}

        return for_each_range(context, work, asset_key=context.asset_key)

    return dg.materialize(
        [covers], instance=instance, tags={RANGE_START: KEYS[0], RANGE_END: KEYS[-1]}, raise_on_error=False
    )


@pytest.fixture
def instance() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    register_ranges(instance, [CoverRange.parse(key) for key in KEYS])
    return instance


def test_one_run_takes_a_span_of_ranges_and_each_reports_its_own_figures(instance: dg.DagsterInstance) -> None:
    result = _run(instance)

    events = result.asset_materializations_for_node("covers")
    assert {event.partition: event.metadata["first"].value for event in events} == {
        "0009_9": 9_900_000,
        "0012_3": 12_300_000,
        "0014_6": 14_600_000,
    }


def test_a_bad_range_fails_alone_and_the_others_are_recorded(instance: dg.DagsterInstance) -> None:
    result = _run(instance, bad="0012_3")

    assert not result.success
    assert instance.get_materialized_partitions(dg.AssetKey("covers")) == {"0009_9", "0014_6"}
    failure = result.failure_data_for_node("covers")
    assert failure is not None
    assert "1 of 3 cover ranges failed: 0012_3: the server is down" in str(failure.error)


def test_a_range_that_no_book_needs_any_more_is_no_partition_any_more(instance: dg.DagsterInstance) -> None:
    gone = register_ranges(instance, [CoverRange.parse("0014_6"), CoverRange.parse("0014_7")])

    assert [each.key for each in gone] == ["0009_9", "0012_3"]
    assert instance.get_dynamic_partitions("cover_range") == ["0014_6", "0014_7"]
