"""The sensor that tells of runs that failed or were lost: in the log, and to a webhook.

Knows Dagster's events; how a message is sent is `webhook`'s part. A lost run, whose worker died or which took too
long, has no failed step: Dagster's run monitoring ends it, with a word of its own.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from book_search.defs.history import why_blocked
from book_search.defs.range_runs import RANGE_END, RANGE_START
from book_search.defs.webhook import WebhookError, post, without_secrets
from book_search.settings import load_settings

MOST_CHARACTERS = 500  # of an error's line; a traceback is read in the UI
PARTITION = "dagster/partition"
BLOCKED = "DagsterAssetCheckFailedError"  # which names the checks alone
FROM_OUTSIDE = "marked as failed from outside"  # what Dagster says of a lost run, which tells nothing


def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """One message a run. A webhook that fails or hangs is told in the log; the sensor goes on to the next run."""
    settings, run = load_settings(), context.dagster_run
    events = context.get_step_failure_events()
    steps = sorted({event.step_key for event in events if event.step_key})
    partitions = _partitions(run)
    said = _first_line(events, context.failure_event, _last_engine_event(context))
    if any(
        event.step_failure_data.error and _root(event.step_failure_data.error).cls_name == BLOCKED for event in events
    ):
        said = why_blocked(context.instance, run.run_id) or said
    error = without_secrets(_short(said))
    address = f"{settings.dagster_url.rstrip('/')}/runs/{run.run_id}" if settings.dagster_url else None
    where = f" in {', '.join(steps)}" if steps else ""
    of = f" for {partitions}" if partitions else ""
    text = f"book_search: {run.job_name}{of} failed{where}: {error}" + (f" {address}" if address else "")
    context.log.error(text)
    if settings.webhook is None:
        return
    message = {
        "text": text,
        "job": run.job_name,
        "run_id": run.run_id,
        "steps": steps,
        "partitions": partitions,
        "error": error,
        "url": address,
    }
    try:
        post(settings.webhook.get_secret_value(), message)
    except WebhookError as failure:
        context.log.warning(f"BOOK_SEARCH_WEBHOOK did not take the message about run {run.run_id}: {failure}")


def _partitions(run: dg.DagsterRun) -> str | None:
    """The range of a run, or the first and the last of its span."""
    first, last = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
    if first and last:
        return first if first == last else f"{first} to {last}"
    return run.tags.get(PARTITION)


def _last_engine_event(context: dg.RunFailureSensorContext) -> str | None:
    """What Dagster noted last of the run's process, such as the signal by which it ended."""
    noted = context.instance.get_records_for_run(context.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    events = [record.event_log_entry.dagster_event for record in noted.records]
    said = [event.message for event in events if event is not None and event.message]
    return next((each for each in reversed(said) if not each.startswith('Sensor "')), None)  # sensors note themselves


def _first_line(events: Sequence[dg.DagsterEvent], ended: dg.DagsterEvent, noted: str | None) -> str:
    """What the first failed step raised, at its root; of a run without one, what ended it, or what Dagster says."""
    for event in events:
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return _short(data.user_failure_data.description)
        if data.error is not None:
            return _short(_root(data.error).message)
    error = getattr(ended.event_specific_data, "error", None)  # a lost run has none
    if error is not None:
        return _short(_root(error).message)
    said = ended.message if FROM_OUTSIDE not in (ended.message or "") else noted
    return _short(said or ended.message or "it ended without a word")


def _root(error: Any) -> Any:
    """The innermost cause of an error as Dagster keeps it, whose class it does not export."""
    while error.cause is not None:
        error = error.cause
    return error


def _short(message: str) -> str:
    """The first line, with the next where the first only announces it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [message]
    line = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}..."
