"""What an embedding must be before it goes into the database; knows vectors and ledgers, nothing of tables."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from book_search.index.copying import SHA256_DIGITS, vectors_of
from book_search.index.models import EmbeddingModel

NORM_TOLERANCE = 1e-3  # float16 keeps 11 bits: a unit vector's norm comes back within 5e-4 of 1
BLOCK_ROWS = 256  # whose numbers stay in the processor's cache


def check_bounds(name: str, rows: pa.Table, bounds: tuple[int, int]) -> None:
    extent = pc.min_max(rows.column("cover_id")).as_py()
    if rows.num_rows and not bounds[0] <= extent["min"] <= extent["max"] < bounds[1]:
        raise ValueError(f"{name} rows of covers {extent['min']} to {extent['max']} are not all in {bounds}")


def check_vectors(embeddings: pa.Table, model: EmbeddingModel) -> None:
    dim = embeddings.column("vector").type.list_size
    if dim != model.dim:
        raise ValueError(f"vectors of {dim} numbers do not fit {model.model_id}, whose vectors have {model.dim}")
    if embeddings.column("vector").null_count:
        raise ValueError("an embedding has no vector")
    vectors = vectors_of(embeddings)
    wrong = ~(np.abs(_norms(vectors) - 1) <= NORM_TOLERANCE)  # true for NaN and infinity too
    if wrong.any():
        first = int(np.argmax(wrong))
        cover_id, norm = embeddings.column("cover_id")[first].as_py(), np.linalg.norm(vectors[first].astype(np.float32))
        raise ValueError(f"{int(wrong.sum())} vectors are not of unit length; cover {cover_id} has {norm}")


def check_sources(embeddings: pa.Table, covers: pa.Table) -> None:
    if pc.any(pc.not_equal(pc.binary_length(embeddings.column("sha256")), SHA256_DIGITS)).as_py():
        raise ValueError("an embedding's sha256 is not 64 hexadecimal digits")
    at = pc.index_in(embeddings.column("cover_id"), value_set=covers.column("cover_id"))
    fetched = covers.column("sha256").take(at)  # null where the ledger does not have the cover
    stale = embeddings.filter(pc.invert(pc.fill_null(pc.equal(fetched, embeddings.column("sha256")), False)))
    if stale.num_rows:
        raise ValueError(
            f"{stale.num_rows} embeddings were made of other images than the ledger has, such as cover "
            f"{stale.column('cover_id')[0].as_py()}; materialize cover_embeddings for this range"
        )


def _norms(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """The length of each vector; of what is not finite, a number of no meaning above 65,000.

    A float16's bits, moved to where a float32 has them, are 2**-112 times its value (exponents count from 15 and from
    127): a fifth of the time of NumPy's own cast, which goes number by number.
    """
    norms = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        bits = vectors[rows].view(np.uint16).astype(np.uint32)
        bits &= 0x7FFF  # without the sign
        bits <<= 13
        numbers = bits.view(np.float32)
        numbers *= np.float32(2.0**112)
        norms[rows] = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))
    return norms
