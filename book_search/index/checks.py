"""What an embedding must be before it goes into the database; knows vectors and ledgers, nothing of tables."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from book_search.index.copying import SHA256_DIGITS, vectors_of
from book_search.index.models import EmbeddingModel

NORM_TOLERANCE = 1e-3  # float16 keeps 11 bits: a unit vector's norm comes back within 5e-4 of 1


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
    norms = np.linalg.norm(vectors_of(embeddings).astype(np.float32), axis=1)
    wrong = ~(np.abs(norms - 1) <= NORM_TOLERANCE)  # true for NaN and infinity too
    if wrong.any():
        first = int(np.argmax(wrong))
        cover_id = embeddings.column("cover_id")[first].as_py()
        raise ValueError(f"{int(wrong.sum())} vectors are not of unit length; cover {cover_id} has {norms[first]}")


def check_sources(embeddings: pa.Table, covers: pa.Table) -> None:
    if pc.any(pc.not_equal(pc.binary_length(embeddings.column("sha256")), SHA256_DIGITS)).as_py():
        raise ValueError("an embedding's sha256 is not 64 hexadecimal digits")
    fetched = covers.select(["cover_id", "sha256"])
    stale = embeddings.select(["cover_id", "sha256"]).join(fetched, ["cover_id", "sha256"], join_type="left anti")
    if stale.num_rows:
        raise ValueError(
            f"{stale.num_rows} embeddings were made of other images than the ledger has, such as cover "
            f"{stale.column('cover_id')[0].as_py()}; materialize cover_embeddings for this range"
        )
