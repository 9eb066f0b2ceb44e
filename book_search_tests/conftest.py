"""Fixtures that several folders of tests share."""

from pathlib import Path

import pytest

from book_search.lake import Lake, open_lake

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("the real data of ../shared is not beside this checkout")
    return SHARED


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake on disk."""
    return open_lake(str(tmp_path / "lake"))
