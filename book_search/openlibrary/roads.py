"""Which road leads to the pictures of an archive batch: by id, the whole zip, or the zip's members by HTTP Range.

Knows numbers alone: a choice is computed from the ids, the pace and the sizes below, and nothing is asked for it.

What a road costs, in seconds::

    requests * 60 / requests_per_minute + bytes / BANDWIDTH

A request costs its turn at the pace, a byte its time on the wire. They are added, though four threads let them
overlap: so no byte is thought free, to us or to those who send it.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from book_search.cover_ranges import COVERS_PER_BATCH
from book_search.openlibrary.archive import has_zip, is_redirected
from book_search.openlibrary.zip_segments import TAIL, segments

Road = Literal["by_id", "bulk_whole", "bulk_members"]
ROADS: tuple[Road, ...] = get_args(Road)
RoadWanted = Literal["auto", "by_id", "bulk_whole", "bulk_members"]

BULK_SHARE = 0.2
BANDWIDTH = 2_500_000  # bytes a second: 20 Mbit/s, what the archive gives one connection on a good day
# Mean bytes of a cover. L: some 200 GB in the zips of some 560 batches (DESIGN, section 4). M and S are L scaled by
# the pixels they may have, and some more for what JPEG loses on small pictures: estimates, good to a factor of two.
MEAN_BYTES = {"S": 2_500, "M": 12_000, "L": 36_000}


@dataclass(frozen=True)
class RoadRule:
    """By what a batch's road is chosen.

    Attributes:
        archive_url: such as https://archive.org.
        road: `auto`, or the road to take whatever it costs; what the zip lacks is asked for by id even so.
        share: of a batch's ten thousand ids; bulk is considered where more than this is wanted.
        requests_per_minute: asked of one host at most.
        bandwidth: bytes a second.
    """

    archive_url: str
    road: RoadWanted = "auto"
    share: float = BULK_SHARE
    requests_per_minute: float = 100
    bandwidth: float = BANDWIDTH

    @property
    def gap(self) -> int:
        """Bytes between two members that are cheaper to read along than to ask around."""
        return int(60 / self.requests_per_minute * self.bandwidth)


@dataclass(frozen=True)
class Choice:
    """A road, what it costs by computation, and why it was taken."""

    road: Road
    requests: int
    bytes: int
    seconds: float
    why: str


def choose_road(
    rule: RoadRule,
    batch: str,
    asked: Sequence[int],
    size: str,
    held: Collection[int] = frozenset(),
    within: float = math.inf,
) -> Choice:
    """The cheapest road to the covers of one batch; by id where no more than the rule's share is asked for.

    Args:
        batch: such as `0014_62`.
        asked: the cover ids that are wanted and that the ledger does not settle.
        size: S, M or L.
        held: ids whose pictures are here already. They are not asked for again, so the whole zip, where it is not
            forced, is taken only without them.
        within: seconds that there are. A whole zip that takes longer is not begun, forced or not: cut off, all of it
            would be lost; its members are taken instead, each of which is kept.
    """
    if rule.road != "auto":
        forced = cost(rule, rule.road, batch, asked, size, held, "BOOK_SEARCH_COVERS_ROAD says so")
        if forced.road != "bulk_whole" or forced.seconds <= within:
            return forced
        why = f"the whole zip takes {forced.seconds:,.0f} s, and {within:,.0f} s are left"
        return cost(rule, "bulk_members", batch, asked, size, held, why)
    share = f"{len(asked) / COVERS_PER_BATCH:.1%} of the batch is asked for"
    if len(asked) <= rule.share * COVERS_PER_BATCH:
        return cost(rule, "by_id", batch, asked, size, held, f"{share}, no more than {rule.share:.0%}")
    if not has_zip(batch):
        return cost(rule, "by_id", batch, asked, size, held, f"{share}, but the archive has no zip of it")
    roads = [road for road in ROADS if road != "bulk_whole" or not held]
    costs = [cost(rule, road, batch, asked, size, held, "") for road in roads]
    costs = [each for each in costs if each.road != "bulk_whole" or each.seconds <= within]
    best = min(costs, key=lambda each: each.seconds)
    others = ", ".join(f"{each.road} {each.seconds:,.0f} s" for each in costs if each is not best)
    return cost(rule, best.road, batch, asked, size, held, f"{share}; {others}")


def cost(
    rule: RoadRule, road: Road, batch: str, asked: Sequence[int], size: str, held: Collection[int], why: str = ""
) -> Choice:
    """What a road to these covers costs: requests, bytes, and seconds by this module's formula."""
    mean = MEAN_BYTES[size]
    wait = 60 / rule.requests_per_minute
    if road == "by_id" or not has_zip(batch):
        # A redirected cover is asked of two hosts, each of which has a pace of its own: it takes one turn's time.
        requests, turns, taken = len(asked) * (1 + is_redirected(batch, size)), len(asked), len(asked) * mean
        if road != "by_id":  # forced: the zip is looked for in vain
            requests, turns = requests + 1, turns + 1
    elif road == "bulk_whole":
        requests = turns = 2  # the archive redirects to the node that holds the zip
        taken = COVERS_PER_BATCH * mean
    else:
        spans = [(cover_id, cover_id * mean, (cover_id + 1) * mean) for cover_id in sorted(asked)]
        parts = segments(spans, [cover_id * mean for cover_id in sorted(held)], rule.gap)
        requests = turns = 2 + len(parts)
        taken = TAIL + sum(part.end - part.start for part in parts)
    return Choice(road, requests, taken, turns * wait + taken / rule.bandwidth, why)
