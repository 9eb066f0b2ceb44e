"""The road's tests: a database, and a served library with the environment set to it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from book_search.defs.build import build_definitions
from book_search.defs.in_process import FinishedAsset
from book_search.defs.run import run_road
from book_search.index.connection import database
from book_search.sample.server import Content, Faults, SampleServer
from book_search_tests.clip.random_clip import save_random_clip
from book_search_tests.database import *  # noqa: F403
from book_search_tests.road.disturbed import *  # noqa: F403

FAULTS = Faults(throttled=0.03, unavailable=0.03, broken=0.03)


@dataclass(frozen=True)
class Road:
    """A library on its way: what serves it, where it ends, and the environment by which everything finds both."""

    server: SampleServer
    dsn: str
    home: Path
    instance: dg.DagsterInstance
    environment: pytest.MonkeyPatch

    def run(self) -> list[str]:
        """Run the whole road; returns the assets in the order in which they were made."""
        return [asset.name for asset in self.run_timed()]

    def run_timed(self) -> list[FinishedAsset]:
        """The same, each with its seconds."""
        return list(run_road(build_definitions(), self.instance))


MakeRoad = Callable[..., AbstractContextManager[Road]]


@contextmanager
def served_road(folder: Path, name: str, content: Content, faults: Faults = FAULTS, **settings: str) -> Iterator[Road]:
    """Serves a content and sets the environment to it, for the length of the block; the road's home is folder/name."""
    home = folder / name
    home.mkdir()
    with (
        pytest.MonkeyPatch.context() as environment,
        SampleServer(content, faults) as server,
        database(None, home) as dsn,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        usual = {
            "HOME": str(home),
            "MODEL": str(save_random_clip(home / "model")),
            "DATABASE_URL": dsn,
            "REQUESTS_PER_MINUTE": "100000",
            **dict.fromkeys(("OPEN_LIBRARY_URL", "COVERS_URL", "ARCHIVE_URL"), server.url),
        }
        for variable, value in (usual | settings).items():
            environment.setenv(f"BOOK_SEARCH_{variable}", value)
        yield Road(server, dsn, home, instance, environment)


@pytest.fixture(scope="session")
def make_road(open_folder: Path) -> MakeRoad:
    """`served_road` in the session's folder."""
    return partial(served_road, open_folder)
