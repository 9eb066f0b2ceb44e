"""What fetching covers came to, in numbers that can be added up and shown."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from book_search.openlibrary.ledger import Status
from book_search.openlibrary.roads import Road


@dataclass(frozen=True)
class FetchReport:
    """What fetching a batch or a range came to.

    Attributes:
        statuses: the wanted covers by status, as the ledger says now.
        asked: covers that the ledger did not settle.
        settled: wanted covers that the ledger knew already.
        dropped: rows of covers that nobody wants any more, removed with their pictures.
        pictures: distinct pictures now kept.
        requests, bytes, retries, opened, waited: of the client, see `http.Metrics`; http_statuses: its answers by
            status.
        files_written: covers files changed.
        seconds: of the whole.
        roads: batches of which anything was asked, by the road that was chosen for them.
        from_zips: covers settled by what lay in a zip; from_dump: by the dump of covers' metadata, without a request.
        left: covers that were not asked for, and why: a batch's time was over, it was not the hour, a host is paused.
        paused: what was said of the hosts that are, which nobody planned; empty where all went as it should.
    """

    statuses: Mapping[Status, int] = field(default_factory=dict)
    asked: int = 0
    settled: int = 0
    dropped: int = 0
    pictures: int = 0
    requests: int = 0
    bytes: int = 0
    waited: float = 0.0
    http_statuses: Mapping[int, int] = field(default_factory=dict)
    files_written: int = 0
    seconds: float = 0.0
    roads: Mapping[Road, int] = field(default_factory=dict)
    from_zips: int = 0
    from_dump: int = 0
    retries: int = 0
    opened: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    paused: tuple[str, ...] = ()

    def __add__(self, other: "FetchReport") -> "FetchReport":
        """Both together."""
        return FetchReport(
            statuses=Counter(self.statuses) + Counter(other.statuses),
            asked=self.asked + other.asked,
            settled=self.settled + other.settled,
            dropped=self.dropped + other.dropped,
            pictures=self.pictures + other.pictures,
            requests=self.requests + other.requests,
            bytes=self.bytes + other.bytes,
            waited=self.waited + other.waited,
            http_statuses=Counter(self.http_statuses) + Counter(other.http_statuses),
            files_written=self.files_written + other.files_written,
            seconds=self.seconds + other.seconds,
            roads=Counter(self.roads) + Counter(other.roads),
            from_zips=self.from_zips + other.from_zips,
            from_dump=self.from_dump + other.from_dump,
            retries=self.retries + other.retries,
            opened=self.opened + other.opened,
            left=Counter(self.left) + Counter(other.left),
            paused=self.paused + other.paused,
        )

    def as_metadata(self) -> dict[str, Any]:
        """The report as numbers that a log or the Dagster UI shows."""
        return {
            "covers": sum(self.statuses.values()),
            **{f"status_{status}": count for status, count in self.statuses.items()},
            "asked": self.asked,
            "settled_before": self.settled,
            "settled_by_dump": self.from_dump,
            "from_zips": self.from_zips,
            **{f"batches_{road}": count for road, count in self.roads.items()},
            "dropped": self.dropped,
            "pictures": self.pictures,
            **(
                {"left_for_the_next_run": "; ".join(f"{n}: {why}" for why, n in self.left.items())} if self.left else {}
            ),
            "requests": self.requests,
            "retries": self.retries,
            "pauses_for_failures": self.opened,
            **{f"http_{status or 'none'}": count for status, count in sorted(self.http_statuses.items())},
            "bytes": self.bytes,
            "seconds_waited": round(self.waited, 3),
            "files_written": self.files_written,
            "seconds": round(self.seconds, 3),
        }
