"""Ways to turn covers into vectors, each for a process of its own: ours, and those it is measured against.

    python -m book_search_tests.benchmarks.embed_contenders NAME FOLDER COUNT

FOLDER holds `model` (a ViT-B/32 of random weights), `pictures` and `lake`, see `embed_field`. Each prints what the
work took, without imports, the model's loading and one batch to get warm, and keeps its vectors as
FOLDER/vectors/NAME.npy. Runs in the competitors' environment too: nothing is imported that a contender does not need.
"""

import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from book_search_tests.benchmarks.embed_engines import (
    SMALL_BATCH,
    allow_torchvision_without_operators,
    load_transformers,
    onnxruntime,
    open_clip,
    openvino,
)
from book_search_tests.benchmarks.embed_timing import (
    BATCH,
    Figures,
    keep,
    measured,
    pictures_of,
    seconds,
    timed,
)

PUBLISHED = 4  # pictures of the way that takes a second for each
ONE_AT_A_TIME = 60
TRIES = 40
# Rows, columns and depth of products: the model's own at 16 pictures, and squares.
PRODUCTS = ((800, 3072, 768), (800, 768, 3072), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096))


def floor(folder: Path, count: int) -> Figures:
    """The most GFLOP/s that torch's matrix products reach, packed as our model's are and plain, on all threads."""
    import torch

    found = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        best = 0.0
        for rows, columns, depth in PRODUCTS:
            left, right = torch.randn(rows, depth).to(dtype), torch.randn(columns, depth).to(dtype)
            packed = torch.ops.mkldnn._reorder_linear_weight(right, None)
            linear = torch.ops.mkldnn._linear_pointwise
            ways = (partial(torch.matmul, left, right.T), partial(linear, left, packed, None, "none", [], ""))
            with torch.inference_mode():
                fastest = min(seconds(way) for way in ways for _ in range(TRIES))
            best = max(best, 2 * rows * columns * depth / fastest)
        found[name] = best / 1e9
    return found


def ours(engine: str) -> Callable[[Path, int], Figures]:
    """The whole asset: covers in Parquet to embeddings in Parquet."""

    def run(folder: Path, count: int) -> Figures:
        from book_search.clip.embeddings import embed_range, embeddings_folder, vectors_of
        from book_search.clip.model import load_clip
        from book_search.cover_ranges import CoverRange
        from book_search.lake import open_lake

        home, cover_range = folder / "lake" / str(count), CoverRange.parse("0014_6")
        shutil.rmtree(home / "embeddings", ignore_errors=True)
        lake = open_lake(str(home), home, None)
        clip = load_clip(str(folder / "model"), device="cpu", engine=engine)
        clip.encode_images(pictures_of(folder, SMALL_BATCH))
        took = timed(lambda: embed_range(lake, cover_range, clip.description, lambda: clip))
        (path,) = lake.names(embeddings_folder(clip.identity, cover_range))
        keep(folder, f"ours-{engine}", vectors_of(lake.read_table(path, ["vector"])))
        return took

    return run


def ours_forward(folder: Path, count: int) -> Figures:
    """The forward pass alone, in bf16, on pictures that are prepared already."""
    from book_search.clip.lanes import side_by_side
    from book_search.clip.model import load_clip

    engine = load_clip(str(folder / "model"), device="cpu", engine="bf16").engine
    prepared = [engine.prepare(picture) for picture in pictures_of(folder, min(count, 512))]

    def run() -> list[np.ndarray]:
        return list(side_by_side(prepared, lambda batch: engine.forward(np.stack(batch)), SMALL_BATCH))

    run()
    took = timed(run)
    return {**took, "pictures": len(prepared)}


def transformers_batches(folder: Path, count: int) -> Figures:
    """transformers as it comes: the processor on lists of 32 pictures, the model in float32."""
    model, processor = load_transformers(folder)
    return measured(folder, count, "transformers", lambda batch: _features(model, processor, batch))


def transformers_one(folder: Path, count: int) -> Figures:
    """One picture a call, the model loaded once."""
    model, processor = load_transformers(folder)
    few = min(count, ONE_AT_A_TIME)
    return measured(folder, few, "one", lambda batch: _features(model, processor, batch), batch_size=1)


def published(folder: Path, count: int) -> Figures:
    """One picture a call, the model loaded in each, as the published pipeline does."""
    few = pictures_of(folder, PUBLISHED)
    _features(*load_transformers(folder), few[:1])
    took = timed(lambda: [_features(*load_transformers(folder), [picture]) for picture in few])
    return {**took, "pictures": len(few)}


def sentence_transformers(folder: Path, count: int) -> Figures:
    """sentence-transformers on the same model."""
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(folder / "model"), device="cpu")

    def encode(batch: Sequence[bytes]) -> np.ndarray:
        opened = [Image.open(io.BytesIO(picture)) for picture in batch]
        return np.asarray(encoder.encode(opened, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False))

    return measured(folder, count, "sentence-transformers", encode)


HERE: dict[str, Callable[[Path, int], Figures]] = {
    "floor": floor,
    "ours-bf16": ours("bf16"),
    "ours-fp32": ours("fp32"),
    "ours-forward": ours_forward,
    "transformers": transformers_batches,
    "one": transformers_one,
    "published": published,
}
ELSEWHERE: dict[str, Callable[[Path, int], Figures]] = {
    "sentence-transformers": sentence_transformers,
    "open_clip-fp32": open_clip("fp32"),
    "open_clip-bf16": open_clip("bf16"),
    "onnxruntime-fp32": onnxruntime("fp32"),
    "onnxruntime-int8": onnxruntime("int8"),
    "openvino-fp32": openvino("fp32"),
    "openvino-bf16": openvino("bf16"),
}


def _features(model: Any, processor: Any, batch: Sequence[bytes]) -> np.ndarray:
    import torch
    from PIL import Image

    opened = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in batch]
    with torch.inference_mode():
        found = model.get_image_features(**processor(opened, return_tensors="pt")).pooler_output
        return np.asarray(torch.nn.functional.normalize(found, dim=-1))


if __name__ == "__main__":
    asked, place, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if asked in ELSEWHERE:
        allow_torchvision_without_operators()
    print(json.dumps({"pictures": number, **(HERE | ELSEWHERE)[asked](place, number)}))
