"""What the kill loop starts and kills: one run over some batches, in a process of its own.

Apart from the test, so that a fork server can have imported all of it before the first is started.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from book_search.lake import open_lake
from book_search.openlibrary.covers import Fetching, fetch_batch
from book_search.openlibrary.host_states import SharedHostStates
from book_search.openlibrary.http import PoliteClient, user_agent
from book_search.openlibrary.ledger import Status
from book_search.openlibrary.roads import Road, RoadRule

SAVE_EVERY = 3  # covers, so that most kills fall near the storing of some
RATE = 60_000  # a minute: a turn is written down, and nobody waits for it long


def fetch_until_killed(
    home: str, url: str, wanted: Mapping[str, Sequence[int]], road: Road, retried: Sequence[Status], paces: Path
) -> None:
    """Fetch the wanted covers of each batch from a loopback server by this road.

    Args:
        retried: statuses that are asked for again.
        paces: the folder in which this process shares its turns with those that were killed before it.
    """
    rule = RoadRule(archive_url=url, road=road, requests_per_minute=1_000_000)
    states = SharedHostStates(paces)
    with PoliteClient(user_agent(None), url, requests_per_minute=RATE, backoff=0.001, states=states) as client:
        how = Fetching(client, url, "M", rule, retry_statuses=retried)
        for batch, ids in wanted.items():
            fetch_batch(open_lake(home), batch, ids, how, save_every=SAVE_EVERY)
