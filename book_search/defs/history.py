"""What materializations and checks said, as Dagster's event log keeps it; checks compare with it, people are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

# Of partitioned assets each record holds a contact sheet of some 50 kB: more of them would be slow to read.
LOOKED_BACK = 40
PLAIN = (dg.IntMetadataValue, dg.FloatMetadataValue, dg.TextMetadataValue, dg.JsonMetadataValue)


@dataclass(frozen=True)
class Earlier:
    """One earlier materialization.

    Attributes:
        at: when.
        partition: which range; None where the asset has none.
        metadata: by name, numbers, texts and JSON as Python has them; others are left out.
    """

    at: datetime
    partition: str | None
    metadata: dict[str, Any]


def earlier(context: dg.AssetExecutionContext) -> list[Earlier]:
    """The last materializations of the asset that is being made, by other runs, newest first.

    Of a partitioned asset those of the run's own ranges, however long ago, and the newest of all others.
    """
    fetch, asset = context.instance.fetch_materializations, context.asset_key
    records = {record.storage_id: record for record in fetch(asset, limit=LOOKED_BACK).records}
    if context.has_partition_key or context.has_partition_key_range:
        keys = list(context.partition_keys)
        own = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=keys)
        records |= {record.storage_id: record for record in fetch(own, limit=LOOKED_BACK + len(keys)).records}
    return [
        Earlier(datetime.fromtimestamp(record.timestamp, UTC), told.partition, _plain(told.metadata))
        for _, record in sorted(records.items(), reverse=True)
        if (told := record.asset_materialization) is not None and record.run_id != context.run.run_id
    ]


def why_blocked(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """What the blocking checks that failed in a run saw, with their ways out; None where none failed.

    Dagster's own error names the checks alone.
    """
    told = []
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        check = entry.get_dagster_event().asset_check_evaluation_data
        if check.passed or not check.blocking or check.severity != dg.AssetCheckSeverity.ERROR:
            continue
        figures = _plain(check.metadata)
        way_out = figures.pop("way_out", "")
        saw = ", ".join(f"{name} {figure}" for name, figure in figures.items())
        told.append(f"{check.asset_key.to_user_string()} failed its check {check.check_name}: {saw}. {way_out}".strip())
    return "; ".join(told) or None


def _plain(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items() if isinstance(value, PLAIN)}
