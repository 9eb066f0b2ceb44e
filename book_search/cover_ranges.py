"""Cover ids in ranges and archive batches: the keys by which the work on covers is divided.

Ids are handed out in order and never change, so a key once written means the same covers for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass

COVERS_PER_BATCH = 10_000  # Open Library's coverstore: one archive zip holds ten thousand covers
BATCHES_PER_RANGE = 10
COVERS_PER_RANGE = COVERS_PER_BATCH * BATCHES_PER_RANGE


@dataclass(frozen=True, order=True)
class CoverRange:
    """A hundred thousand cover ids: `0014_6` stands for 14,600,000 to 14,699,999."""

    number: int

    @classmethod
    def of(cls, cover_id: int) -> "CoverRange":
        """The range that `cover_id` lies in."""
        return cls(cover_id // COVERS_PER_RANGE)

    @classmethod
    def parse(cls, key: str) -> "CoverRange":
        """The range of a key such as `0014_6`. Raises ValueError for any other form."""
        millions, _, hundred_thousands = key.partition("_")
        if len(millions) != 4 or len(hundred_thousands) != 1 or not (millions + hundred_thousands).isdigit():
            raise ValueError(f"{key!r} is no cover range; one looks like 0014_6, for ids 14,600,000 to 14,699,999")
        return cls(int(millions) * 10 + int(hundred_thousands))

    @property
    def key(self) -> str:
        """The range's name, as Dagster's partition and the lake's folder."""
        return f"{self.number // 10:04d}_{self.number % 10}"

    @property
    def first(self) -> int:
        """The lowest cover id of the range."""
        return self.number * COVERS_PER_RANGE

    @property
    def end(self) -> int:
        """One more than the highest cover id of the range."""
        return self.first + COVERS_PER_RANGE


def batch_key(cover_id: int) -> str:
    """The archive batch of a cover: `0014_62` for ids 14,620,000 to 14,629,999."""
    return f"{cover_id // 1_000_000:04d}_{cover_id // COVERS_PER_BATCH % 100:02d}"


def ranges_of(cover_ids: Iterable[int]) -> list[CoverRange]:
    """The ranges that hold any of the ids, lowest first."""
    return sorted({CoverRange.of(cover_id) for cover_id in cover_ids})
