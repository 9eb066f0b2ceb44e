"""What a query is measured on: a ViT-B/32 of random weights with a vocabulary of CLIP's size, and a drawn library.

Made on the spot: what is measured depends on sizes, not on what the model has learned.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from book_search.clip.model import describe_model
from book_search.index.build import build_index
from book_search.index.connection import connect, database
from book_search.index.load import load_books, load_range
from book_search.index.models import register_model
from book_search.index.schema import apply_sql
from book_search_tests.clip.clip_vocabulary import MERGES, few_merges, write_parts
from book_search_tests.index.library import draw_library

COVERS = 5_000


def random_vit_b_32(folder: Path) -> Path:
    """A CLIP ViT-B/32 in `folder`, 605 MB, as `save_pretrained` writes it; kept for the next time."""
    if (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file():
        return folder
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    parts = write_parts(folder / "parts", _many_merges())
    CLIPTokenizer.from_pretrained(parts, model_max_length=77).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    return folder


def _many_merges() -> list[str]:
    """As many pairs as CLIP has, each of what came before it."""
    rng, words = random.Random(0), [*"abcdefghijklmnopqrstuvwxyz"]
    ends = [letter + "</w>" for letter in words]
    merges = few_merges()
    seen = {merge.replace(" ", "") for merge in merges} | {*words, *ends}
    while len(merges) < MERGES:
        last = rng.random() < 0.5
        first, second = rng.choice(words), rng.choice(ends if last else words)
        if first + second not in seen and len(first + second) < 16:
            seen.add(first + second)
            merges.append(f"{first} {second}")
            (ends if last else words).append(first + second)
    return merges


@contextmanager
def library_of(model: Path, home: Path) -> Iterator[str]:
    """The address of a running database with 5,000 covers of that model, for the length of the block."""
    description = describe_model(str(model))
    with database(None, home) as dsn:
        with connect(dsn) as conn:
            apply_sql(conn)
        with connect(dsn) as conn:
            known = conn.execute("SELECT revision FROM embedding_model WHERE active").fetchone()
            if known != (description.identity.revision,):
                drawn, identity = draw_library(COVERS, description.dim), description.identity
                number = register_model(
                    conn, identity.model_id, identity.revision, identity.preprocessing, description.dim, "{}"
                )
                load_books(conn, drawn.books)
                load_range(conn, number, (0, 100_000), drawn.covers, drawn.embeddings, drawn.tags)
                build_index(conn, number)
        yield dsn
