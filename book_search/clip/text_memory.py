"""The vectors of the texts that were asked for last: a reader who turns a page or tries a filter asks for them again.

Knows texts and vectors; nothing of models. A memory serves one encoder and ends with it, so that nothing goes stale.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

REMEMBERED = 4096  # sentences, four to a query: 8 MB of 512 numbers each


class TextMemory:
    """Vectors by text; the one asked for longest ago is forgotten first. Threads may share it.

    Args:
        size: texts that are remembered; 0 remembers none.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def vectors(self, texts: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray]) -> np.ndarray:
        """The vectors of texts, float32 [n, dim]; `encode` is asked once, for all that are not remembered."""
        with self._lock:
            found = {text: self._vectors[text] for text in texts if text in self._vectors}
        missing = list(dict.fromkeys(text for text in texts if text not in found))
        if not found and len(missing) == len(texts):
            fresh = encode(texts)
            found = dict(zip(texts, fresh, strict=True))
        elif missing:
            found |= zip(missing, encode(missing), strict=True)
        with self._lock:
            for text in texts:
                self._vectors[text] = found[text]
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._size:
                self._vectors.popitem(last=False)
        return np.stack([found[text] for text in texts]) if texts else encode(texts)
