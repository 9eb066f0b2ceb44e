"""A small library that went the whole road, with Dagster's memory of it on disk, for Dagster's own pages to show."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from book_search.instance import prepare_dagster_home
from book_search.sample.library import plan_library
from book_search.sample.serving import content_of
from book_search_tests.database import *  # noqa: F403
from book_search_tests.road.conftest import MakeRoad, Road, make_road

__all__ = ["make_road"]


@pytest.fixture(scope="session")
def shown_road(make_road: MakeRoad, open_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """A library of 40 books that went the road twice, so that there is a history to draw."""
    content = content_of(plan_library(seed=5, kept=40, dropped=80), tmp_path_factory.mktemp("shown"), size=(60, 90))
    home = open_folder / "shown-dagster"
    prepare_dagster_home(home)
    with make_road("shown", content) as made, dg.DagsterInstance.from_config(str(home)) as instance:
        made.environment.setenv("DAGSTER_HOME", str(home))
        road = replace(made, instance=instance)
        road.run()
        road.run()
        yield road
