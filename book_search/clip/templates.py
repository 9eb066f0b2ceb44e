"""How a few words become a query: sentences of the kind that CLIP read in training, and the mean of their vectors.

Averaging over templates is CLIP's own "prompt ensembling" (Radford et al. 2021, section 3.1.4).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from book_search.clip.texts import TextEncoder

TEMPLATES = ("{}", "a book cover of {}", "a book cover showing {}", "a picture of {}")


def text_vector(clip: "TextEncoder", text: str, templates: Sequence[str] = TEMPLATES) -> np.ndarray:
    """The unit vector of a text: float32 [dim], the normalised mean of its vectors in each template.

    Raises:
        ValueError: no template, or one without the place `{}` for the text.
    """
    vector: np.ndarray = text_vectors(clip, [text], templates)[0]
    return vector


def text_vectors(clip: "TextEncoder", texts: Sequence[str], templates: Sequence[str] = TEMPLATES) -> np.ndarray:
    """The unit vectors of several texts, each averaged over the templates: float32 [n, dim]."""
    if not templates:
        raise ValueError("at least one template is needed; '{}' is the text alone")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"the template {template!r} has no place {{}} for the text")
    # replace, not format: a text may hold braces of its own.
    sentences = [template.replace("{}", text) for text in texts for template in templates]
    means = clip.encode_texts(sentences).reshape(len(texts), len(templates), clip.dim).mean(axis=1)
    unit: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit
