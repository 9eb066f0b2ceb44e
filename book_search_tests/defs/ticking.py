"""What tests of sensors and schedules share: ticks by the project's own definitions, runs that begin and end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from book_search.defs.build import build_definitions


@dataclass(frozen=True)
class Tick:
    """What a tick came to: the runs it asked for, or why there are none, and where it left off."""

    requests: Sequence[dg.RunRequest]
    skipped: str
    cursor: str | None

    @property
    def keys(self) -> list[str | None]:
        """The requests' run keys."""
        return [request.run_key for request in self.requests]

    @property
    def spans(self) -> list[tuple[str, str]]:
        """The first and the last range of each request that is for ranges."""
        tags = [request.tags for request in self.requests if "dagster/asset_partition_range_start" in request.tags]
        return [
            (each["dagster/asset_partition_range_start"], each["dagster/asset_partition_range_end"]) for each in tags
        ]


def tick(name: str, instance: dg.DagsterInstance, cursor: str | None = None) -> Tick:
    """Evaluate a sensor as Dagster's daemon has it done: with the definitions' own resources."""
    definitions = build_definitions()
    repository = definitions.get_repository_def()
    sensor, all_of_them = repository.get_sensor_def(name), definitions.resources or {}
    resources = {key: all_of_them[key] for key in sensor.required_resource_keys}
    with dg.build_sensor_context(instance, cursor, repository_def=repository, resources=resources) as context:
        data = sensor.evaluate_tick(context)
    return Tick(list(data.run_requests or []), data.skip_message or "", data.cursor)


def clock(name: str, instance: dg.DagsterInstance, at: datetime) -> Tick:
    """Evaluate a schedule at a time."""
    definitions = build_definitions()
    repository = definitions.get_repository_def()
    schedule, all_of_them = repository.get_schedule_def(name), definitions.resources or {}
    resources = {key: all_of_them[key] for key in schedule.required_resource_keys}
    with dg.build_schedule_context(
        instance, at.astimezone(UTC), repository_def=repository, resources=resources
    ) as context:
        data = schedule.evaluate_tick(context)  # left at once: it has opened an instance of its own
    return Tick(list(data.run_requests or []), data.skip_message or "", None)


def start(instance: dg.DagsterInstance, request: dg.RunRequest, job: str) -> dg.DagsterRun:
    """The run that the daemon would make of a request, begun."""
    definition = build_definitions().resolve_job_def(request.job_name or job)
    return instance.create_run_for_job(
        definition, tags={**request.tags, "dagster/run_key": request.run_key or ""}, status=dg.DagsterRunStatus.STARTED
    )


def succeed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """End a run well."""
    event = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name)
    instance.report_dagster_event(event, run_id=run.run_id)


def fail(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str = "it failed") -> None:
    """End a run badly."""
    instance.report_run_failed(run, message)
