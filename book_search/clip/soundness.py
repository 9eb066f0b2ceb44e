"""Whether the embeddings of a range are what they should be: one of every picture, all finite and of unit length.

Reads the lake's files as a stage after this one would; of the model it knows the identity alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from book_search.clip.embeddings import NORM_TOLERANCE, embeddings_folder, undecodable_of
from book_search.clip.known_vectors import vectors_of
from book_search.clip.model import ModelIdentity
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake


@dataclass(frozen=True)
class VectorsLook:
    """What was found of a range's embeddings.

    Attributes:
        pictures: covers with a picture.
        vectors: covers with a vector.
        undecodable: covers whose picture the model cannot be shown, with a reason that is kept.
        not_finite, not_unit: vectors with NaN or infinity; others not of unit length.
        without: covers with a picture, no vector, and no reason.
        too_many: covers with a vector, and no picture.
        such_as: a cover of the first kind of fault there is; None where all is well.
    """

    pictures: int = 0
    vectors: int = 0
    undecodable: int = 0
    not_finite: int = 0
    not_unit: int = 0
    without: int = 0
    too_many: int = 0
    such_as: int | None = None

    @property
    def sound(self) -> bool:
        """Whether they may be searched."""
        return not (self.not_finite or self.not_unit or self.without or self.too_many)

    def __add__(self, other: "VectorsLook") -> "VectorsLook":
        """Both together."""
        counted = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        return VectorsLook(**counted, such_as=self.such_as if self.such_as is not None else other.such_as)

    def as_metadata(self) -> dict[str, Any]:
        """The figures by name; the cover only where there is a fault."""
        return {name: getattr(self, name) for name in COUNTED} | (
            {} if self.such_as is None else {"such_as_cover": self.such_as}
        )


COUNTED = ("pictures", "vectors", "undecodable", "not_finite", "not_unit", "without", "too_many")


def look_at_vectors(lake: Lake, identity: ModelIdentity, cover_range: CoverRange) -> VectorsLook:
    """Look at every embedding of a range by a model, one archive batch in memory at a time."""
    found, folder = VectorsLook(), embeddings_folder(identity, cover_range)
    names = {path.rsplit("/", 1)[1] for top in (f"covers/{cover_range.key}", folder) for path in lake.names(top)}
    for name in sorted(names):
        found += _look(lake, f"covers/{cover_range.key}/{name}", f"{folder}/{name}")
    return found


def _look(lake: Lake, covers_path: str, path: str) -> VectorsLook:
    shown: dict[int, str] = {}
    if lake.exists(covers_path):
        ledger = lake.read_table(covers_path, ["cover_id", "status", "sha256"])
        good = ledger.filter(pc.and_(pc.equal(ledger["status"], "ok"), pc.is_valid(ledger["sha256"])))
        shown = dict(zip(good["cover_id"].to_pylist(), good["sha256"].to_pylist(), strict=True))
    if not lake.exists(path):
        return VectorsLook(pictures=len(shown), without=len(shown), such_as=min(shown, default=None))
    table, reasons = lake.read_table(path), undecodable_of(lake, path)
    cover_ids = table["cover_id"].to_numpy()
    held = dict(zip(cover_ids.tolist(), table["sha256"].to_pylist(), strict=True))
    vectors = vectors_of(table).astype(np.float32)
    finite = np.asarray(np.isfinite(vectors).all(axis=1))
    norms = np.linalg.norm(np.where(finite[:, None], vectors, 0), axis=1)
    wrong = finite & ~(np.abs(norms - 1) < NORM_TOLERANCE)
    without = [each for each, sha in shown.items() if held.get(each) != sha and sha not in reasons]
    too_many = [each for each in held if each not in shown]
    faulty = [*cover_ids[~finite].tolist(), *cover_ids[wrong].tolist(), *without, *too_many]
    return VectorsLook(
        pictures=len(shown),
        vectors=len(held),
        undecodable=sum(sha in reasons and each not in held for each, sha in shown.items()),
        not_finite=int((~finite).sum()),
        not_unit=int(wrong.sum()),
        without=len(without),
        too_many=len(too_many),
        such_as=faulty[0] if faulty else None,
    )
