"""Whether a cover fits a text better than it fits a text that says nothing.

A text that the collection has no cover for still has a nearest cover, and what is nearest by chance is no match. CLIP
itself can be asked: it was trained to say which of several texts a picture goes with. So each hit is put to it as a
choice of two, the query's text and a caption that is true of any cover.

Knows vectors; nothing of the database. `background` tells how a score stands among the collection's, for any query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from book_search.search.query import Kind, Part

if TYPE_CHECKING:
    from book_search.clip.texts import TextEncoder

GENERIC = ("a book cover", "a picture", "something")  # what is true of every cover
FITS = 0.85  # the tiny CLIP gives words that it never saw under 0.8 with few exceptions, what is there 0.94 or more


@dataclass(frozen=True)
class Fit:
    """The choice that hits are put to.

    Attributes:
        text: the unit vector of the query's texts, [dim].
        generic: the unit vector of `GENERIC`, [dim].
        scale: CLIP's logit scale, the exponential of its learned temperature.
    """

    text: np.ndarray
    generic: np.ndarray
    scale: float

    def of(self, vectors: np.ndarray) -> np.ndarray:
        """Probabilities that pictures go with the text and not with the generic caption: float32 [n].

        fit = 1 / (1 + exp(-scale * (cosine with the text - cosine with the generic caption))), which is CLIP's
        softmax over the two texts (Radford et al. 2021, section 3.1.2).

        Args:
            vectors: unit vectors of pictures, [n, dim].
        """
        probabilities: np.ndarray = 1 / (1 + np.exp(-self.scale * (vectors @ (self.text - self.generic))))
        return probabilities


def fit_to_texts(clip: "TextEncoder", parts: Sequence[Part], vectors: np.ndarray) -> Fit | None:
    """The choice for a query's texts, or None if it has none that say what is wanted.

    Args:
        clip: the model, or its half that reads texts.
        parts: of the query.
        vectors: their unit vectors, [parts, dim].
    """
    texts = [index for index, part in enumerate(parts) if part.kind is Kind.TEXT]
    if not texts:
        return None
    weights = np.array([parts[index].weight for index in texts], np.float32)
    return Fit(_unit(weights @ vectors[texts]), _generic_vector(clip), clip.logit_scale)


@lru_cache(maxsize=1)
def _generic_vector(clip: "TextEncoder") -> np.ndarray:
    """The unit vector of `GENERIC`, [dim]; kept, since it is the same for every query put to a model."""
    return _unit(clip.encode_texts(GENERIC).mean(axis=0))


def _unit(vector: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vector / np.linalg.norm(vector)
    return unit
