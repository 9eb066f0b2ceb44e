"""What the assets work with follows the settings of the moment."""

from pathlib import Path

import pytest

from book_search.clip.zero_shot import load_facets
from book_search.defs.resources import ClipResource
from book_search_tests.clip.random_clip import save_random_clip


def test_facets_are_the_users_where_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[season]\ntemplate = "a cover of {}"\ntags = ["summer", "winter"]\n')

    own = ClipResource().facets
    monkeypatch.setenv("BOOK_SEARCH_FACETS", str(mine))

    assert own == load_facets()
    assert [(facet.name, facet.tags) for facet in ClipResource().facets] == [("season", ("summer", "winter"))]


def test_the_crop_that_is_set_is_part_of_the_models_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_SEARCH_MODEL", str(save_random_clip(tmp_path / "random-clip")))
    monkeypatch.setenv("BOOK_SEARCH_DEVICE", "cpu")
    before = ClipResource().describe()

    monkeypatch.setenv("BOOK_SEARCH_CROP", "two-crops")

    assert before.identity.preprocessing == "centre-crop-1"
    assert ClipResource().describe().identity.preprocessing == "two-crops-1"
    assert ClipResource().load().description == ClipResource().describe()
