"""Which stretches of a zip are asked for at once, so that its members come with few requests and little in vain.

Knows where bytes lie; nothing of zips' directories, and no connection.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TAIL = 1 << 20  # bytes from the end of a zip that hold its directory: 10,000 entries of 62 to 90 bytes
LONGEST_SEGMENT = 8 << 20  # bytes asked for at once by Range


@dataclass(frozen=True)
class Segment:
    """Bytes [start, end) of a zip that are asked for at once, and the covers that lie in them."""

    start: int
    end: int
    cover_ids: tuple[int, ...]


def segments(spans: Iterable[tuple[int, int, int]], held: Sequence[int], gap: int) -> list[Segment]:
    """Join what lies near each other: the fewest requests that read no held member and no gap that costs more.

    Args:
        spans: (cover id, first byte, byte after the last) of each cover to be read, in the order of their bytes.
        held: where the members begin that are here already, in order.
        gap: bytes that may be read in vain to save a request.
    """
    joined: list[Segment] = []
    for cover_id, start, end in spans:
        last = joined[-1] if joined else None
        near = (
            last is not None
            and start - last.end <= gap
            and max(end, last.end) - last.start <= LONGEST_SEGMENT
            and bisect_left(held, last.end) == bisect_left(held, start)
        )
        if last is not None and near:
            joined[-1] = Segment(last.start, max(end, last.end), (*last.cover_ids, cover_id))
        else:
            joined.append(Segment(start, end, (cover_id,)))
    return joined
