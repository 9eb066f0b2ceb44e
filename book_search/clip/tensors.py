"""The tensors of a safetensors checkpoint, mapped into memory: what is not looked at is not read.

Knows the file's form (https://huggingface.co/docs/safetensors: eight bytes with the header's length, a JSON header,
the numbers in little endian) and its float types; nothing of models. The safetensors library's own numpy reader
copies every tensor, and knows no bfloat16.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HEADER_AT = 8
LONGEST_HEADER = 100_000_000  # bytes, safetensors' own limit
STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


@dataclass(frozen=True)
class Tensors:
    """Tensors by name, as float32 whatever they are stored as.

    Attributes:
        stored: name to how it lies in the file; of bfloat16, which numpy has not, the bits.
    """

    stored: dict[str, tuple[str, np.ndarray]]
    _converted: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __contains__(self, name: str) -> bool:
        return name in self.stored

    def __getitem__(self, name: str) -> np.ndarray:
        """A tensor in float32: the file's own memory where it is stored so, else converted once and kept."""
        kind, array = self.stored[name]
        if kind == "F32":
            return array
        if name not in self._converted:
            self._converted[name] = _float32(kind, array)
        return self._converted[name]

    def rows(self, name: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some rows of a table in float32; no other row is read."""
        kind, array = self.stored[name]
        return _float32(kind, array[indices])

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self.stored[name][1].shape


def open_tensors(folder: Path) -> Tensors | None:
    """The tensors of float types in a folder's `model.safetensors`, or in the files that its index names.

    None where there are no such files, or they are not of this form.
    """
    index = folder / "model.safetensors.index.json"
    if (whole := folder / "model.safetensors").is_file():
        files = [whole]
    elif index.is_file():
        names: dict[str, str] = json.loads(index.read_text())["weight_map"]
        files = [folder / name for name in sorted(set(names.values()))]
    else:
        return None
    stored: dict[str, tuple[str, np.ndarray]] = {}
    for path in files:
        if not path.is_file() or not (found := _tensors(path)):
            return None
        stored |= found
    return Tensors(stored)


def _tensors(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    if path.stat().st_size <= HEADER_AT:
        return {}
    mapped = np.memmap(path, np.uint8, mode="r")
    length = int.from_bytes(mapped[:HEADER_AT].tobytes(), "little")
    start = HEADER_AT + length
    if length > LONGEST_HEADER or start > len(mapped):
        return {}
    header: dict[str, dict[str, Any]] = json.loads(mapped[HEADER_AT:start].tobytes())
    header.pop("__metadata__", None)
    # A plain view: numpy's memmap class makes every slice and every product slower.
    numbers = mapped.view(np.ndarray)[start:]
    found = {}
    for name, said in header.items():
        if (kind := said["dtype"]) not in STORED:
            continue
        first, last = said["data_offsets"]
        if last > len(numbers) or last - first != math.prod(said["shape"]) * STORED[kind].itemsize:
            return {}  # cut off: transformers will say so in its own words
        found[name] = (kind, np.frombuffer(numbers[first:last], STORED[kind]).reshape(said["shape"]))
    return found


def _float32(kind: str, array: np.ndarray) -> np.ndarray:
    """In float32, which holds every number of the two half types exactly; bfloat16 is its upper half."""
    if kind == "BF16":
        widened: np.ndarray = (array.astype(np.uint32) << 16).view(np.float32)
        return widened
    return array.astype(np.float32, copy=False)
