"""How often a sensor starts a run for one and the same thing: again after a failure, later each time, and not for ever.

Knows the runs that Dagster remembers; what they are started for is a name that the sensor gives. A run key alone
would be spent by the first run, however that ended: the number of the attempt is a part of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import dagster as dg

STARTED_FOR = "book_search/started_for"  # a run's tag: what it was started for
RETRIED_BY_DAGSTER = "dagster/retry_number"  # on the runs that `run_retries` starts: the same attempt
MOST_ATTEMPTS = 6
FIRST_PAUSE = timedelta(minutes=30)  # doubled after each further failure: five pauses are 15.5 hours


@dataclass(frozen=True)
class Attempt:
    """Whether a run may be started for something now.

    Attributes:
        started_for: the thing's name.
        number: of this attempt, from 1 on.
        why_not: why none is started now; None where one may be.
        last: how the last one ended; None before the first.
    """

    started_for: str
    number: int
    why_not: str | None
    last: dg.DagsterRunStatus | None = None

    def request(self, job_name: str | None = None, tags: Mapping[str, str] = MappingProxyType({})) -> dg.RunRequest:
        """The request for this attempt, which Dagster takes once."""
        return dg.RunRequest(
            run_key=f"{self.started_for}-{self.number}",
            job_name=job_name,
            tags={STARTED_FOR: self.started_for, **tags},
        )


def next_attempt(instance: dg.DagsterInstance, started_for: str, now: datetime | None = None) -> Attempt:
    """The attempt that would be the next, and whether it may be made now.

    None is made beside another, after one that a person cancelled, within the pause after a failure, and after
    `MOST_ATTEMPTS`. A run that succeeded and left the same thing to do counts as a failed one.
    """
    now = now or datetime.now(UTC)
    records = instance.get_run_records(dg.RunsFilter(tags={STARTED_FOR: started_for}), limit=10 * MOST_ATTEMPTS)
    if not records:
        return Attempt(started_for, 1, None)
    newest = records[0]
    made = sum(RETRIED_BY_DAGSTER not in record.dagster_run.tags for record in records)
    ended = max(record.end_time or record.update_timestamp.replace(tzinfo=UTC).timestamp() for record in records)
    after = datetime.fromtimestamp(ended, UTC) + FIRST_PAUSE * 2 ** (made - 1)
    name = f"the run {newest.dagster_run.run_id}"
    why_not = None
    if running := [record.dagster_run for record in records if not record.dagster_run.is_finished]:
        why_not = f"the run {running[0].run_id} is under way"
    elif newest.dagster_run.status == dg.DagsterRunStatus.CANCELED:
        why_not = f"{name} was cancelled; start one by hand, or wait for something new"
    elif made >= MOST_ATTEMPTS:
        why_not = f"{made} runs did not do it, {name} the last: look there, and start one by hand"
    elif now < after:
        why_not = f"{name} did not do it; the next one is started after {after:%Y-%m-%d %H:%M} UTC"
    return Attempt(started_for, made + 1, why_not, newest.dagster_run.status)
