"""A CLIP of the real architecture with random weights, small enough to make on the spot; and covers for it to see."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, SiglipConfig, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from book_search.lake import Lake
from book_search.schemas import COVERS

SIDE, TEXT_LENGTH, DIM = 32, 24, 16
SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def letters_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with a vocabulary of single letters."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[])


def save_random_clip(folder: Path, seed: int = 0, dim: int = DIM) -> Path:
    """A CLIPModel of random weights in `folder`, as `save_pretrained` writes it."""
    tokenizer = letters_tokenizer()
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**SMALL, "vocab_size": len(tokenizer), "max_position_embeddings": TEXT_LENGTH, **special}
    config = CLIPConfig(
        text_config={**text, "pad_token_id": tokenizer.eos_token_id},
        vision_config={**SMALL, "image_size": SIDE, "patch_size": 8},
        projection_dim=dim,
    )
    torch.manual_seed(seed)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square).save_pretrained(folder)
    return folder


def save_random_siglip(folder: Path) -> Path:
    """A SiglipModel of random weights, with CLIP's tokenizer of letters: SigLIP's own needs a trained file."""
    tokenizer = letters_tokenizer()
    text = {**SMALL, "vocab_size": len(tokenizer), "max_position_embeddings": TEXT_LENGTH, "projection_size": 16}
    config = SiglipConfig(text_config=text, vision_config={**SMALL, "image_size": SIDE, "patch_size": 8})
    torch.manual_seed(0)
    SiglipModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def cover(colour: tuple[int, int, int], size: tuple[int, int] = (40, 60), form: str = "JPEG") -> bytes:
    """The bytes of a picture: a field of one colour with a lighter square, so that no two colours look alike."""
    image = Image.new("RGB", size, colour)
    image.paste(tuple(255 - channel for channel in colour), (10, 20, 10 + colour[0] % 20, 40))
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def put_covers(lake: Lake, path: str, pictures: Sequence[tuple[int, str, bytes | None]]) -> None:
    """Write a covers file of (cover_id, status, bytes): the bytes lie beside the first row of their sha256 only."""
    seen: set[str] = set()
    rows = []
    for cover_id, status, content in pictures:
        sha = hashlib.sha256(content).hexdigest() if content is not None else None
        image = None if sha is None or sha in seen else content
        seen |= {sha} if sha else set()
        rows.append({"cover_id": cover_id, "status": status, "sha256": sha, "image": image})
    lake.write_table(path, pa.Table.from_pylist(rows, schema=COVERS))
