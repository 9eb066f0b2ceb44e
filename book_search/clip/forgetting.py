"""Embeddings and tags of covers whose picture is gone: removed from the lake, whichever model made them.

Knows their files and the column `cover_id`; nothing of models.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from book_search.cover_ranges import CoverRange
from book_search.lake import Lake


def forget_range(lake: Lake, cover_range: CoverRange) -> None:
    """Remove the embeddings and tags of a range of which no cover is wanted any more, of every model."""
    for path in _files(lake, cover_range):
        lake.delete(path)


def forget_others(lake: Lake, cover_range: CoverRange, shown: pa.Array, but: str) -> int:
    """Remove what former models made of covers of a range that have no picture now; gives how many files changed.

    A picture may be gone because it had to be taken down: then its vectors must not outlive it. The present model's
    files are made anew by its own stages.

    Args:
        shown: the ids of the range's covers that have a picture.
        but: the present model's slug.
    """
    changed = 0
    for path in _files(lake, cover_range):
        if path.split("/")[1] == but:
            continue
        kept = pc.is_in(lake.read_table(path, ["cover_id"])["cover_id"], value_set=shown)
        if pc.all(kept).as_py() is False:
            table = lake.read_table(path).filter(kept)
            if table.num_rows:
                lake.write_table(path, table)
            else:
                lake.delete(path)
            changed += 1
    return changed


def _files(lake: Lake, cover_range: CoverRange) -> Iterator[str]:
    for model in [*lake.folders("embeddings"), *lake.folders("tags")]:
        yield from lake.names(f"{model}/{cover_range.key}")
