"""Zero-shot classification: which of some words fits a picture, and tags for covers from their stored vectors.

Probabilities are the model's own: for CLIP the softmax over the labels of logit_scale * cosine (Radford et al. 2021,
section 3.1.2), for SigLIP a sigmoid a label of logit_scale * cosine + logit_bias (Zhai et al. 2023). No picture is
read for the tags of a range: they are one matrix product.
"""

import hashlib
import json
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from book_search.alone import alone_at
from book_search.clip.embeddings import ModelMismatchError, embeddings_folder, vectors_of
from book_search.clip.model import ModelDescription
from book_search.clip.preprocessing import Picture
from book_search.clip.templates import text_vectors
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search.schemas import TAGS

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

FACETS = Path(__file__).with_name("facets.toml")
# In a tags file's metadata: the hash of all that decides its content; that of the model and the facets alone; of each
# cover's picture the first 64 bits of its sha256, in the order of the covers.
MADE_FROM, ASKED, PICTURES = b"book_search.made_from", b"book_search.asked", b"book_search.pictures"
PICTURE_DIGITS = 16


@dataclass(frozen=True)
class Facet:
    """One question asked of every cover: its name, a template with `{}`, and the tags that may answer."""

    name: str
    template: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class TagReport:
    """What tagging a range came to.

    Attributes:
        covers: covers with a vector.
        tags: rows in the range's files, one a cover and facet.
        tagged: of these, rows computed now.
        files_written, files_unchanged, files_removed: of the range's archive batches.
        seconds: of the whole.
    """

    covers: int
    tags: int
    tagged: int
    files_written: int
    files_unchanged: int
    files_removed: int
    seconds: float

    def as_metadata(self) -> dict[str, Any]:
        """The report as numbers that a log or the Dagster UI shows."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}


def classify(
    clip: "Clip", images: Sequence[Picture] | np.ndarray, labels: Sequence[str], template: str = "a book cover of {}"
) -> np.ndarray:
    """How well each label fits each picture: probabilities, float32 [pictures, labels].

    For CLIP the labels of a picture compete and their probabilities add up to 1; for SigLIP each stands alone.

    Args:
        clip: the model.
        images: pictures, or their unit vectors [pictures, dim].
        labels: words, at least one.
        template: the sentence that a label is put in, at `{}`.

    Raises:
        ValueError: no labels, or a template without `{}`.
        UndecodableImageError: a picture cannot be decoded.
    """
    if not labels:
        raise ValueError("at least one label is needed to classify")
    vectors = images if isinstance(images, np.ndarray) else clip.encode_images(images)
    return _probabilities(clip, vectors, text_vectors(clip, labels, [template]))


def load_facets(path: Path = FACETS) -> tuple[Facet, ...]:
    """The facets of a TOML file; the package's own by default.

    Raises:
        ValueError: the file is not there or no TOML, or a facet lacks its tags or has a template without `{}`; the
            message names it.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"there is no facets file {path}; BOOK_SEARCH_FACETS names it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from error
    facets = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name} is no table; write [{name}] with a template and tags below it")  # noqa: TRY004
        template, tags = table.get("template", "{}"), tuple(table.get("tags", ()))
        if "{}" not in template:
            raise ValueError(f"{path}: the template of [{name}] has no place {{}} for the tag: {template!r}")
        if len(set(tags)) != len(tags) or len(tags) < 2 or not all(isinstance(tag, str) for tag in tags):
            raise ValueError(f"{path}: [{name}] needs at least two tags, all of them different words")
        facets.append(Facet(name, template, tags))
    return tuple(facets)


@alone_at(lambda _, each, model, *__, **___: (f"vectors of {each.key}", f"tags/{model.identity.slug}/{each.key}"))
def tag_range(
    lake: Lake,
    cover_range: CoverRange,
    description: ModelDescription,
    load_clip: Callable[[], "Clip"],
    facets: Sequence[Facet],
) -> TagReport:
    """Bring the tags of one range up to its embeddings: for each cover the likeliest tag of each facet.

    A file whose covers, pictures, model and facets are the same as when it was made is left as it is. In another the
    tags of the same pictures stay, to the last bit, so that nothing after them has to be written anew. Where no
    picture is new, the model is not loaded.

    Raises:
        ModelMismatchError: `load_clip` gives another model than `description` speaks of.
    """
    start = time.monotonic()
    source, folder = embeddings_folder(description.identity, cover_range), tags_folder(description, cover_range)
    texts: list[np.ndarray] | None = None
    clip: Clip | None = None
    covers = tagged = written = unchanged = 0
    kept = set()
    for path in lake.names(source):
        target = f"{folder}/{path.rsplit('/', 1)[1]}"
        kept.add(target)
        keys = lake.read_table(path, ["cover_id", "sha256"])
        covers += keys.num_rows
        made_from = _made_from(keys, description, facets)
        if lake.exists(target) and _stored_made_from(lake, target) == made_from:
            unchanged += 1
            continue
        table = _standing(lake, target, keys, description, facets)
        new = lake.read_table(path).filter(pc.invert(pc.is_in(keys["cover_id"], table["cover_id"].combine_chunks())))
        if new.num_rows:
            if clip is None or texts is None:
                clip = load_clip()
                if clip.identity != description.identity:
                    raise ModelMismatchError(f"asked for {description.identity}, but {clip.identity} was loaded")
                texts = _facet_texts(clip, tuple(facets))
            table = pa.concat_tables([table, _tags(clip, new, facets, texts)])
            table = table.sort_by([("cover_id", "ascending"), ("facet", "ascending")])
        tagged += new.num_rows * len(facets)
        metadata = {MADE_FROM: made_from, ASKED: _asked(description, facets), PICTURES: _pictures(keys)}
        lake.write_table(target, table.replace_schema_metadata(metadata))
        written += 1
    gone = [path for path in lake.names(folder) if path not in kept]
    for path in gone:
        lake.delete(path)
    seconds = time.monotonic() - start
    return TagReport(covers, covers * len(facets), tagged, written, unchanged, len(gone), seconds)


def is_tagged(lake: Lake, cover_range: CoverRange, description: ModelDescription, facets: Sequence[Facet]) -> bool:
    """Whether the tags of a range are those of its embeddings and these facets: nothing is to be done."""
    folder = tags_folder(description, cover_range)
    sources = {
        f"{folder}/{path.rsplit('/', 1)[1]}": path
        for path in lake.names(embeddings_folder(description.identity, cover_range))
    }
    return set(lake.names(folder)) == sources.keys() and all(
        _stored_made_from(lake, target)
        == _made_from(lake.read_table(path, ["cover_id", "sha256"]), description, facets)
        for target, path in sources.items()
    )


def tags_folder(description: ModelDescription, cover_range: CoverRange) -> str:
    """Where the tags of a range by a model lie in the lake."""
    return f"tags/{description.identity.slug}/{cover_range.key}"


@lru_cache(maxsize=1)
def _facet_texts(clip: "Clip", facets: tuple[Facet, ...]) -> list[np.ndarray]:
    """The vectors of every facet's tags; kept, since a run tags many ranges with one model and one set of facets."""
    return [text_vectors(clip, facet.tags, [facet.template]) for facet in facets]


def _probabilities(clip: "Clip", vectors: np.ndarray, texts: np.ndarray) -> np.ndarray:
    logits = clip.logit_scale * (vectors.astype(np.float32) @ texts.T) + clip.logit_bias
    if clip.description.is_siglip:
        sigmoid: np.ndarray = 1 / (1 + np.exp(-logits))
        return sigmoid
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return softmax


def _tags(clip: "Clip", embeddings: pa.Table, facets: Sequence[Facet], texts: Sequence[np.ndarray]) -> pa.Table:
    vectors, cover_ids = vectors_of(embeddings), embeddings["cover_id"].to_numpy()
    parts = []
    for facet, text in zip(facets, texts, strict=True):
        probabilities = _probabilities(clip, vectors, text)
        best = probabilities.argmax(axis=1)
        columns = [
            cover_ids,
            [facet.name] * len(best),
            [facet.tags[index] for index in best],
            probabilities[np.arange(len(best)), best].astype(np.float32),
            [facet.template] * len(best),
        ]
        arrays = [pa.array(values, kind.type) for values, kind in zip(columns, TAGS, strict=True)]
        parts.append(pa.Table.from_arrays(arrays, schema=TAGS))
    return pa.concat_tables(parts) if parts else TAGS.empty_table()


def _standing(
    lake: Lake, path: str, keys: pa.Table, description: ModelDescription, facets: Sequence[Facet]
) -> pa.Table:
    """The tags of a file that still hold: of the covers in `keys` that show the picture which they were made of."""
    if not lake.exists(path):
        return TAGS.empty_table()
    table = lake.read_table(path)
    stored: dict[bytes, bytes] = table.schema.metadata or {}
    if stored.get(ASKED) != _asked(description, facets):
        return TAGS.empty_table()
    before = dict(zip(table["cover_id"].unique().to_pylist(), _each(stored[PICTURES]), strict=True))
    now = zip(keys["cover_id"].to_pylist(), _each(_pictures(keys)), strict=True)
    same = [cover_id for cover_id, picture in now if before.get(cover_id) == picture]
    held: pa.Table = table.filter(pc.is_in(table["cover_id"], pa.array(same, pa.int64())))
    return held.replace_schema_metadata(None)


def _asked(description: ModelDescription, facets: Sequence[Facet]) -> bytes:
    asked = [asdict(description.identity), [asdict(facet) for facet in facets]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest().encode()


def _pictures(keys: pa.Table) -> bytes:
    return "".join(sha256[:PICTURE_DIGITS] for sha256 in keys["sha256"].to_pylist()).encode()


def _each(pictures: bytes) -> list[bytes]:
    return [pictures[start : start + PICTURE_DIGITS] for start in range(0, len(pictures), PICTURE_DIGITS)]


def _made_from(keys: pa.Table, description: ModelDescription, facets: Sequence[Facet]) -> bytes:
    identity = asdict(description.identity)
    asked = [asdict(facet) for facet in facets]
    digest = hashlib.sha256(json.dumps([identity, asked], sort_keys=True).encode())
    digest.update(json.dumps([keys["cover_id"].to_pylist(), keys["sha256"].to_pylist()]).encode())
    return digest.hexdigest().encode()


def _stored_made_from(lake: Lake, path: str) -> bytes | None:
    with lake.parquet(path) as file:
        stored: bytes | None = (file.schema_arrow.metadata or {}).get(MADE_FROM)
    return stored
