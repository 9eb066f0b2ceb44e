"""What the contenders of `bench_embed` work on: a model of random weights, pictures, and a lake that holds them.

Knows files; nothing of who competes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import torch
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from book_search.cover_ranges import CoverRange
from book_search.lake import open_lake
from book_search.schemas import COVERS
from book_search_tests.benchmarks.cover_pictures import drawn_pictures, picture_of
from book_search_tests.clip.random_clip import letters_tokenizer

FIRST = 14_620_000  # cover ids from here on
RANGE, BATCH = CoverRange.parse("0014_6"), "0014_62"
DRAWN = 2_000  # different pictures at most; each cover has bytes of its own all the same
ROWS_TOGETHER = 256


def prepare(folder: Path, counts: Sequence[int], given: Path | None) -> None:
    """Make the model, the pictures and a lake for each count, where they are not there yet.

    Args:
        folder: gets `model`, `pictures` and `lake/{count}`.
        given: a folder of JPEG files that come before the drawn ones.

    Raises:
        ValueError: the given folder has none.
    """
    if not (folder / "model" / "model.safetensors").exists():
        save_vit_b_32(folder / "model")
    pictures = _different(folder / "drawn", given, max(counts))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for number in range(max(counts)):
        path = folder / "pictures" / f"{FIRST + number}.jpg"
        if not path.exists():
            path.write_bytes(picture_of(pictures, FIRST + number))
    for count in set(counts):
        _put_lake(folder / "lake" / str(count), sorted((folder / "pictures").glob("*.jpg"))[:count])


def save_vit_b_32(folder: Path, seed: int = 0) -> None:
    """CLIP ViT-B/32 of random weights, made from its configuration (the defaults of transformers' CLIPConfig)."""
    torch.manual_seed(seed)
    letters_tokenizer().save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    CLIPModel(CLIPConfig()).save_pretrained(folder)


def _different(drawn: Path, given: Path | None, count: int) -> list[bytes]:
    pictures = [path.read_bytes() for path in sorted(given.glob("*.jpg"))] if given else []
    if given and not pictures:
        raise ValueError(f"{given} has no .jpg files")
    missing = min(DRAWN, max(0, count - len(pictures)))
    return [*pictures, *(path.read_bytes() for path in drawn_pictures(drawn, missing))]


def _put_lake(home: Path, pictures: Sequence[Path]) -> None:
    lake = open_lake(str(home), home, None)
    path = f"covers/{RANGE.key}/{BATCH}.parquet"
    if lake.exists(path):
        return
    contents = [picture.read_bytes() for picture in pictures]
    rows = [
        {"cover_id": int(picture.stem), "status": "ok", "sha256": hashlib.sha256(content).hexdigest(), "image": content}
        for picture, content in zip(pictures, contents, strict=True)
    ]
    home.mkdir(parents=True, exist_ok=True)
    lake.write_table(path, pa.Table.from_pylist(rows, schema=COVERS), row_group_size=ROWS_TOGETHER)
