"""The embeddings of a range of covers: which are wanted, which stand already, and the rest computed and written.

Knows the lake's covers and embeddings files; of the model only that it makes unit vectors. A vector belongs to the
bytes of a picture and to the model's identity, so it is computed once for all covers that share the picture, and
never again. The model is loaded only if there is something to compute.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from book_search import schemas
from book_search.alone import alone_at
from book_search.clip.forgetting import forget_others, forget_range
from book_search.clip.known_vectors import standing_vectors, vectors_elsewhere, vectors_of
from book_search.clip.model import ModelDescription, ModelIdentity, ModelMismatchError
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

__all__ = [
    "EmbedReport",
    "ModelMismatchError",
    "embed_range",
    "embeddings_folder",
    "forget_range",
    "is_embedded",
    "vectors_of",
]

Progress = Callable[[int, int | None], None]

NORM_TOLERANCE = 1e-3  # of a unit vector in float16: each number is within 2**-11 of itself
ENGINE = b"book_search.engine"  # in the file's metadata: the way that its newest vectors took; no part of the identity
UNDECODABLE = b"book_search.undecodable"  # in the file's metadata: sha256 -> reason, so that none is tried again


@dataclass(frozen=True)
class EmbedReport:
    """What embedding a range came to.

    Attributes:
        covers: covers with a picture.
        embedded: pictures computed now.
        reused: covers whose vector stood already, or is shared with another cover's.
        undecodable: covers whose picture the model cannot be shown, by reason.
        files_written, files_unchanged, files_removed: of the range's archive batches.
        seconds: of the whole, the model's loading included.
        engine: the way that the pictures took, such as `bf16, packed`; None where none was computed.
    """

    covers: int = 0
    embedded: int = 0
    reused: int = 0
    undecodable: dict[str, int] = field(default_factory=dict)
    files_written: int = 0
    files_unchanged: int = 0
    files_removed: int = 0
    seconds: float = 0.0
    engine: str | None = None

    def as_metadata(self) -> dict[str, Any]:
        """The report as numbers and words that a log or the Dagster UI shows."""
        return {
            "covers": self.covers,
            "embedded": self.embedded,
            "reused": self.reused,
            "undecodable": sum(self.undecodable.values()),
            **({"undecodable_reasons": json.dumps(self.undecodable)} if self.undecodable else {}),
            "files_written": self.files_written,
            "files_unchanged": self.files_unchanged,
            "files_removed": self.files_removed,
            "seconds": round(self.seconds, 3),
            **({"engine": self.engine} if self.engine else {}),
            "pictures_per_second": round(self.embedded / self.seconds, 1) if self.embedded else 0.0,
        }


@alone_at(lambda _, each, model, *__, **___: (f"vectors of {each.key}", f"embeddings/{model.identity.slug}/{each.key}"))
def embed_range(
    lake: Lake,
    cover_range: CoverRange,
    description: ModelDescription,
    load_clip: Callable[[], "Clip"],
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> EmbedReport:
    """Bring the embeddings of one range up to its covers: one file an archive batch, written whole or not at all.

    Covers that lost their picture lose their vectors and tags, those of every other model as well.

    Args:
        lake: holds covers/{range}/ and gets embeddings/{model}/{range}/.
        cover_range: which covers.
        description: the model's identity and dimension, known without loading it.
        load_clip: gives the model; called once, and only if a picture is new.
        batch_size: pictures given to the model at once; by default what suits its engine.
        progress: called with (pictures done, pictures to do).

    Raises:
        ModelMismatchError: `load_clip` gives another model than `description` speaks of.
        FileNotFoundError: a file of the covers vanished meanwhile.
        ValueError: a vector is not finite or not of unit length.
    """
    start, folder = time.monotonic(), embeddings_folder(description.identity, cover_range)
    batches = [_Batch.read(lake, path, description) for path in lake.names(f"covers/{cover_range.key}")]
    stale = [batch for batch in batches if not batch.current]
    counted, clip = _Counter(total=0, progress=progress), None
    if stale:
        vectors = standing_vectors(lake, folder)
        undecodable = {sha: reason for batch in batches for sha, reason in batch.undecodable.items()}
        new = {sha for batch in stale for sha in batch.shas()} - vectors.keys() - undecodable.keys()
        vectors |= vectors_elsewhere(lake, folder, new)
        new -= vectors.keys()
        counted.total = len(new)
        clip = _checked(load_clip(), description) if new else None
        for batch in stale:
            wanted = new & batch.shas() - vectors.keys() - undecodable.keys()
            if clip is not None and wanted:
                undecodable |= _embed(lake, batch.covers_path, wanted, clip, vectors, batch_size, counted)
            batch.write(lake, description, vectors, undecodable, clip.engine.name if clip and wanted else None)
    removed = _remove_others(lake, folder, {batch.path for batch in batches})
    shown = pa.chunked_array([chunk for batch in batches for chunk in batch.rows["cover_id"].chunks], pa.int64())
    forget_others(lake, cover_range, shown.combine_chunks(), but=description.identity.slug)
    reasons = _reasons(lake, batches)
    covers = sum(batch.rows.num_rows for batch in batches)
    return EmbedReport(
        covers=covers,
        embedded=counted.embedded,
        reused=covers - counted.embedded - sum(reasons.values()),
        undecodable=reasons,
        files_written=len(stale),
        files_unchanged=len(batches) - len(stale),
        files_removed=removed,
        seconds=time.monotonic() - start,
        engine=clip.engine.name if clip else None,
    )


def embeddings_folder(identity: ModelIdentity, cover_range: CoverRange) -> str:
    """Where the embeddings of a range by a model lie in the lake."""
    return f"embeddings/{identity.slug}/{cover_range.key}"


def is_embedded(lake: Lake, cover_range: CoverRange, description: ModelDescription) -> bool:
    """Whether every picture of a range has its vector by this model, and nothing else has: nothing is to be done."""
    batches = [_Batch.read(lake, path, description) for path in lake.names(f"covers/{cover_range.key}")]
    standing = set(lake.names(embeddings_folder(description.identity, cover_range)))
    return all(batch.current for batch in batches) and standing == {batch.path for batch in batches}


@dataclass
class _Counter:
    total: int
    progress: Progress | None
    seen: int = 0
    embedded: int = 0

    def tick(self) -> None:
        self.seen += 1
        if self.progress:
            self.progress(self.seen, self.total)


@dataclass(frozen=True)
class _Batch:
    """One covers file and what stands of its embeddings."""

    covers_path: str
    path: str
    rows: pa.Table  # cover_id, sha256 of the covers with a picture, by cover_id
    undecodable: dict[str, str]
    current: bool

    @classmethod
    def read(cls, lake: Lake, covers_path: str, description: ModelDescription) -> "_Batch":
        ledger = lake.read_table(covers_path, ["cover_id", "status", "sha256"])
        good = pc.and_(pc.equal(ledger["status"], "ok"), pc.is_valid(ledger["sha256"]))
        rows = ledger.filter(good).select(["cover_id", "sha256"]).sort_by("cover_id")
        key, name = covers_path.split("/")[1:]
        path = f"{embeddings_folder(description.identity, CoverRange.parse(key))}/{name}"
        if not lake.exists(path):
            return cls(covers_path, path, rows, {}, current=False)
        undecodable = undecodable_of(lake, path)
        held = lake.read_table(path, ["cover_id", "sha256"])
        wanted = _without(rows, undecodable)
        current = (
            held["cover_id"].to_pylist() == wanted["cover_id"].to_pylist()
            and held["sha256"].to_pylist() == wanted["sha256"].to_pylist()
        )
        return cls(covers_path, path, rows, undecodable, current)

    def shas(self) -> set[str]:
        return set(self.rows["sha256"].to_pylist())

    def write(
        self,
        lake: Lake,
        description: ModelDescription,
        vectors: dict[str, np.ndarray],
        undecodable: dict[str, str],
        engine: str | None,
    ) -> None:
        rows = _without(self.rows, undecodable)
        shas: list[str] = rows["sha256"].to_pylist()
        missing = [sha for sha in shas if sha not in vectors]
        if missing:
            raise ValueError(f"{self.covers_path} says ok of pictures that it does not hold: {missing[:3]}")
        matrix = np.stack([vectors[sha] for sha in shas]) if shas else np.empty((0, description.dim), np.float16)
        column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1), pa.float16()), description.dim)
        identity = description.identity
        metadata = {
            b"book_search.model_id": identity.model_id.encode(),
            b"book_search.revision": identity.revision.encode(),
            b"book_search.preprocessing": identity.preprocessing.encode(),
            **({ENGINE: engine.encode()} if engine else {}),
            UNDECODABLE: json.dumps(
                {sha: undecodable[sha] for sha in sorted(self.shas() & undecodable.keys())}
            ).encode(),
        }
        schema = schemas.embeddings(description.dim).with_metadata(metadata)
        arrays = [rows["cover_id"].combine_chunks(), rows["sha256"].combine_chunks(), column]
        lake.write_table(self.path, pa.Table.from_arrays(arrays, schema=schema))


def _embed(
    lake: Lake,
    covers_path: str,
    wanted: set[str],
    clip: "Clip",
    vectors: dict[str, np.ndarray],
    batch_size: int | None,
    counted: _Counter,
) -> dict[str, str]:
    """Compute the wanted pictures of one covers file into `vectors`; gives sha256 and reason of the undecodable."""
    order: list[str] = []

    def pictures() -> Iterator[bytes]:
        with lake.parquet(covers_path) as file:
            for group in range(file.num_row_groups):  # one at a time: `iter_batches` keeps all of them in memory
                shas = file.read_row_group(group, columns=["sha256"])["sha256"].to_pylist()
                if wanted.isdisjoint(shas):
                    continue
                images = file.read_row_group(group, columns=["image"])["image"]
                for sha, image in zip(shas, images, strict=True):
                    if sha in wanted and image.is_valid and sha not in seen:
                        seen.add(sha)
                        order.append(sha)
                        counted.tick()
                        yield image.as_py()

    seen: set[str] = set()
    computed, failed = clip.encode_each_image(pictures(), batch_size)
    undecodable = {order[position]: reason for position, reason in failed.items()}
    good = [position for position in range(len(order)) if position not in failed]
    checked = _checked_vectors(computed[good])
    vectors.update(zip((order[position] for position in good), checked, strict=True))
    counted.embedded += len(good)
    return undecodable


def _checked_vectors(vectors: np.ndarray) -> np.ndarray:
    """float16 of vectors that are finite and of unit length; a zero vector would never be found in a cosine index."""
    stored = vectors.astype(np.float16)
    norms = np.linalg.norm(stored.astype(np.float32), axis=1)
    bad = ~(np.abs(norms - 1) < NORM_TOLERANCE)  # NaN compares false
    if bad.any():
        raise ValueError(f"{int(bad.sum())} of {len(vectors)} vectors are not finite or not of unit length")
    return stored


def _checked(clip: "Clip", description: ModelDescription) -> "Clip":
    if clip.identity != description.identity:
        raise ModelMismatchError(f"asked for {description.identity}, but {clip.identity} was loaded")
    return clip


def undecodable_of(lake: Lake, path: str) -> dict[str, str]:
    """The pictures of an embeddings file that the model cannot be shown: sha256 and reason."""
    with lake.parquet(path) as file:
        stored: dict[str, str] = json.loads((file.schema_arrow.metadata or {}).get(UNDECODABLE, b"{}"))
    return stored


def _without(rows: pa.Table, undecodable: dict[str, str]) -> pa.Table:
    if not undecodable:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows["sha256"], pa.array(list(undecodable), pa.string()))))


def _reasons(lake: Lake, batches: list[_Batch]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for batch in batches:
        undecodable = undecodable_of(lake, batch.path)
        for sha in batch.rows["sha256"].to_pylist():
            if sha in undecodable:
                counted[undecodable[sha]] = counted.get(undecodable[sha], 0) + 1
    return counted


def _remove_others(lake: Lake, folder: str, kept: set[str]) -> int:
    """Delete the embeddings of archive batches that hold no wanted cover any more."""
    gone = [path for path in lake.names(folder) if path not in kept]
    for path in gone:
        lake.delete(path)
    return len(gone)
