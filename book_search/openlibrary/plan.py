"""What is still to be fetched and what it will cost, by range and by road, computed before anything is asked.

Knows the wanted ids, the ledger and the choice of roads; opens no connection.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from book_search.cover_ranges import CoverRange, batch_key
from book_search.openlibrary.archive import has_zip
from book_search.openlibrary.due import sort_out
from book_search.openlibrary.ledger import LedgerRow, Status
from book_search.openlibrary.metadata_dump import KnownCovers
from book_search.openlibrary.roads import ROADS, Choice, Road, RoadRule, choose_road, cost

BY_ID: Road = "by_id"


@dataclass(frozen=True)
class Cost:
    """Requests, bytes of bodies, and seconds by the formula of `roads`."""

    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, choices: Iterable[Choice]) -> "Cost":
        """All of these, one after the other."""
        each = list(choices)
        return cls(sum(c.requests for c in each), sum(c.bytes for c in each), sum(c.seconds for c in each))


@dataclass(frozen=True)
class PlannedBatch:
    """One archive batch of which any cover is wanted.

    Attributes:
        key: such as `0014_62`.
        wanted: covers; settled: those that the ledger settles; by_dump: those that the dump of covers' metadata will.
        choice: the road to the others, which are `wanted - settled - by_dump`; None where there are none.
        costs: what each road would cost; of a batch without a zip, all roads cost what by id does.
    """

    key: str
    wanted: int
    settled: int
    by_dump: int
    choice: Choice | None
    costs: Mapping[Road, Choice]

    @property
    def left(self) -> int:
        """Covers to be asked for."""
        return self.wanted - self.settled - self.by_dump


@dataclass(frozen=True)
class CoversPlan:
    """The batches of one range, or of many, lowest first."""

    batches: tuple[PlannedBatch, ...] = ()

    def __add__(self, other: "CoversPlan") -> "CoversPlan":
        """Both together."""
        return CoversPlan(self.batches + other.batches)

    @property
    def wanted(self) -> int:
        """Covers that are wanted."""
        return sum(batch.wanted for batch in self.batches)

    @property
    def settled(self) -> int:
        """Covers that the ledger settles."""
        return sum(batch.settled for batch in self.batches)

    @property
    def by_dump(self) -> int:
        """Covers that the dump of covers' metadata will settle, without a request."""
        return sum(batch.by_dump for batch in self.batches)

    @property
    def left(self) -> int:
        """Covers that will be asked for."""
        return sum(batch.left for batch in self.batches)

    @property
    def chosen(self) -> Cost:
        """What the plan costs by the roads that are chosen."""
        return Cost.of(batch.choice for batch in self.batches if batch.choice)

    @property
    def roads(self) -> dict[Road, int]:
        """Batches by the road that is chosen for them."""
        counted = Counter(batch.choice.road for batch in self.batches if batch.choice)
        return {road: counted[road] for road in ROADS if counted[road]}

    def by(self, road: Road) -> Cost:
        """What it would cost to take this road wherever there is one."""
        return Cost.of(batch.costs[road] for batch in self.batches if batch.choice)

    def by_range(self) -> dict[CoverRange, "CoversPlan"]:
        """The same, range by range."""
        grouped = itertools.groupby(self.batches, lambda batch: CoverRange.parse(batch.key[:-1]))
        return {cover_range: CoversPlan(tuple(batches)) for cover_range, batches in grouped}


def plan_covers(
    wanted: Iterable[int],
    ledger: Mapping[int, LedgerRow],
    rule: RoadRule,
    size: str,
    now: datetime,
    retry_statuses: Sequence[Status] = (),
    known: KnownCovers | None = None,
) -> CoversPlan:
    """What `covers.fetch_range` would do about these covers.

    Args:
        wanted: cover ids, of any ranges.
        ledger: rows by cover id; those of covers that are not wanted do not matter.
        rule: by what roads are chosen, with the pace.
        size: S, M or L.
        retry_statuses: covers of these statuses are asked for again, due or not.
        known: what the dump of covers' metadata says.
    """
    planned = []
    for key, ids in itertools.groupby(sorted(set(wanted)), batch_key):
        batch = list(ids)
        due = sort_out(batch, ledger, now, retry_statuses, known)
        left, roads = due.asked, {road: road if has_zip(key) else BY_ID for road in ROADS}
        planned.append(
            PlannedBatch(
                key=key,
                wanted=len(batch),
                settled=due.by_ledger,
                by_dump=len(due.by_dump),
                choice=choose_road(rule, key, left, size, due.here) if left else None,
                costs={road: cost(rule, taken, key, left, size, due.here) for road, taken in roads.items()},
            )
        )
    return CoversPlan(tuple(planned))
