"""A small CLIP of random weights for the tests of clip/."""

from pathlib import Path

import pytest

from book_search.clip.encoder import Clip
from book_search.clip.model import load_clip
from book_search_tests.clip.random_clip import save_random_clip


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a CLIP with random weights."""
    return save_random_clip(tmp_path_factory.mktemp("models") / "random-clip")


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> Clip:
    """That CLIP, loaded."""
    return load_clip(str(clip_folder), device="cpu")
