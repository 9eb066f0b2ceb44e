"""Steps that are tried again by Dagster, in the same run: after what passes by itself, and after nothing else.

A bare retry policy repeats a step whatever failed it, a mistyped setting as well, and an index that took an hour and
was found wanting. Here each error is looked at first. Covers have no such retry: their client asks again by itself,
what it leaves stands in the ledger with the time of its next try, and a host that asks for rest gets it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
import psycopg
from urllib3.exceptions import HTTPError

from book_search.defs.in_process import PROCESS
from book_search.index.connection import DatabaseUnreachableError
from book_search.openlibrary.download import HttpStatusError

# Of psycopg's OperationalErrors, those that would come again, or only after hours of the same work.
LASTING = (
    psycopg.errors.DiskFull,
    psycopg.errors.OutOfMemory,
    psycopg.errors.ConfigurationLimitExceeded,
    psycopg.errors.QueryCanceled,
)


@dataclass(frozen=True)
class Patience:
    """What is waited for, how often and how long.

    Attributes:
        passes: whether an error passes by itself.
        policy: times and pauses, which grow and are spread by chance, so that many runs do not come back at once.
        at_a_terminal: also where a person waits for the run, who had better be told.
    """

    passes: Callable[[BaseException], bool]
    policy: dg.RetryPolicy
    at_a_terminal: bool = True


def database_passes(error: BaseException) -> bool:
    """Whether the server was away, starting, stopping, or broke a deadlock; not that it refuses us, or is full."""
    if isinstance(error, DatabaseUnreachableError):
        return not error.lasting
    return isinstance(error, psycopg.OperationalError) and not isinstance(error, LASTING)


def network_passes(error: BaseException) -> bool:
    """Whether a connection broke, or a server answered that it cannot answer now."""
    return error.passing if isinstance(error, HttpStatusError) else isinstance(error, HTTPError)


def _policy(times: int, seconds: float) -> dg.RetryPolicy:
    return dg.RetryPolicy(times, delay=seconds, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


# A server that restarts, or fails over to another, is back within a minute or two: pauses of 5, 15, 35, 75 seconds.
DATABASE = Patience(database_passes, _policy(4, 5))
# The download has asked eight times within two minutes before it gives up: then once more after 5 and 15 minutes.
NETWORK = Patience(network_passes, _policy(2, 300), at_a_terminal=False)


@contextmanager
def again_later(patience: Patience) -> Iterator[None]:
    """Have the step run again where the block fails by what passes; outside a step it changes nothing.

    The pool's slot is free for others in the pause. After the last try the error itself is raised.

    Raises:
        dg.RetryRequested: to Dagster, which waits and runs the step again.
    """
    try:
        yield
    except Exception as error:
        context = _step()
        if context is None or not any(map(patience.passes, _causes(error))):
            raise
        if PROCESS in context.run.tags and not patience.at_a_terminal:
            raise
        attempt = context.retry_number + 1
        if attempt > patience.policy.max_retries:
            raise
        seconds = patience.policy.calculate_delay(attempt)
        context.log.warning("%s; trying again in %.0f s", error, seconds)
        raise dg.RetryRequested(patience.policy.max_retries, seconds) from error


def _step() -> dg.OpExecutionContext | None:
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
