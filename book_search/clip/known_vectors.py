"""Vectors that stand in the lake already, by the sha256 of their picture: of a range, and of all others.

Knows embeddings files of one model; nothing of how vectors are made. Books share covers, over all ranges.
"""

from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from book_search.lake import Lake

READERS = 8  # files looked into at once: on S3 each look waits for its answers
# Looking into a file costs a tenth of a picture's embedding on a fast processor, and less than that on a slow one.
FILES_A_PICTURE = 10


def vectors_of(table: pa.Table) -> np.ndarray:
    """The vectors of an embeddings file as float32 [rows, dim]."""
    column = table["vector"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    vectors: np.ndarray = flat.reshape(len(column), column.type.list_size).astype(np.float32)
    return vectors


def standing_vectors(lake: Lake, folder: str) -> dict[str, np.ndarray]:
    """Every vector in a range's folder, as float16 [dim] by its picture's sha256."""
    standing: dict[str, np.ndarray] = {}
    for path in lake.names(folder):
        standing.update(_by_sha256(lake.read_table(path, ["sha256", "vector"])))
    return standing


def vectors_elsewhere(lake: Lake, own: str, wanted: Set[str]) -> Mapping[str, np.ndarray]:
    """Those of the wanted vectors that another range holds, as float16 [dim] by sha256.

    The memory is that of what is found, and a file's. Where fewer pictures are wanted than would pay for looking into
    every file, none is looked into.

    Args:
        own: the folder of the range whose pictures they are, see `embeddings.embeddings_folder`.
        wanted: the sha256 of pictures.
    """
    files = [path for folder in lake.folders(own.rpartition("/")[0]) if folder != own for path in lake.names(folder)]
    if not wanted or len(files) > FILES_A_PICTURE * len(wanted):
        return {}
    asked = pa.array(sorted(wanted), pa.string())
    found: dict[str, np.ndarray] = {}

    def look(path: str) -> pa.Table | None:
        try:
            with lake.parquet(path) as file:
                here = pc.is_in(file.read(columns=["sha256"])["sha256"], value_set=asked)
                return file.read(columns=["sha256", "vector"]).filter(here) if pc.any(here).as_py() else None
        except FileNotFoundError:  # whoever works on that range has removed it
            return None

    with ThreadPoolExecutor(READERS, thread_name_prefix="vectors") as readers:
        for table in readers.map(look, files):
            if table is not None:
                found.update(_by_sha256(table))
    return found


def _by_sha256(table: pa.Table) -> dict[str, np.ndarray]:
    return dict(zip(table["sha256"].to_pylist(), vectors_of(table).astype(np.float16), strict=True))
