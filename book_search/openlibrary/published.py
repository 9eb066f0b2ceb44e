"""Whether a month's dumps are published whole: all four, of one month, none of them empty; asked without their bodies.

Knows what `dumps` tells of each, and how much time there is; fetches nothing and decides nothing.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import date

import urllib3

from book_search.openlibrary.download import Retry
from book_search.openlibrary.dumps import DUMP_KINDS, DumpRelease, find_latest
from book_search.openlibrary.lines import DumpError

# What asks in the minute that Dagster gives a sensor: it fails fast, and the next one asks again.
QUICKLY = Retry(attempts=2, first_wait=1, longest_wait=3, timeout=urllib3.Timeout(connect=5, read=10))
SMALLEST = 100  # bytes: the gzip of a single line has more, that of nothing has 20, and a few for a file's name

Found = DumpRelease | DumpError


def latest_of(
    kinds: Sequence[str], base_url: str, user_agent: str, seconds: float, retry: Retry = QUICKLY
) -> dict[str, Found]:
    """The newest dump of each kind, or why it is not known, after `seconds` at most.

    Args:
        kinds: of `dumps.DUMP_KINDS`; asked for side by side.
        base_url, user_agent: as `dumps.find_latest` takes them.
        seconds: after which who has not answered is waited for no more, however slowly it still sends.
    """
    found: dict[str, Found | Exception] = {}

    def ask(kind: str) -> None:
        try:
            found[kind] = find_latest(kind, base_url, user_agent, retry)
        except Exception as error:  # noqa: BLE001 - a thread's own error is lost; it is told, or raised, below
            found[kind] = error

    # Daemons: a server that sends a byte now and then would else keep this process from its end.
    askers = [threading.Thread(target=ask, args=(kind,), daemon=True) for kind in kinds]
    ends = time.monotonic() + seconds
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(max(0.0, ends - time.monotonic()))
    told: dict[str, Found] = {}
    for kind in kinds:
        late = DumpError(f"{base_url} did not say within {seconds:.0f} s which dump of {kind} is the newest")
        answer = found.get(kind, late)
        if not isinstance(answer, DumpRelease | DumpError):
            raise answer
        told[kind] = answer
    return told


def why_not_whole(found: Mapping[str, Found], month: date) -> str | None:
    """Why these are not the dumps of a month, to be taken as one; None where they are.

    Args:
        found: of all kinds, from `latest_of`.
        month: any day of it.
    """
    for kind in DUMP_KINDS:
        dump = found[kind]
        if isinstance(dump, DumpError):
            return str(dump)
        if not dump.published:
            return f"the dump of {kind} is not published yet ({dump.url})"
        if (dump.date.year, dump.date.month) != (month.year, month.month):
            return f"the newest dump of {kind} is of {dump.date}, not of {month:%B %Y} yet"
        if dump.size is not None and dump.size < SMALLEST:
            return f"the dump of {kind} of {dump.date} is empty: {dump.size} bytes"
    return None
