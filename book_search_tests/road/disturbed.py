"""The road's tests: a small served library whose road is run in processes of its own, undisturbed or not.

Given to the tests by `conftest`: the undisturbed road is run once for all of them.
"""

import multiprocessing
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from book_search.index.connection import database
from book_search.sample.library import plan_library
from book_search.sample.server import Faults, SampleServer
from book_search.sample.serving import content_of
from book_search_tests.clip.random_clip import save_random_clip
from book_search_tests.road import killed_run
from book_search_tests.road.killed_run import Killer
from book_search_tests.road.outcome import files_of, held_of, rows_of

__all__ = ["base", "undisturbed"]

SEED = int(os.environ.get("BOOK_SEARCH_TEST_SEED", "1"))
FAULTS = Faults(throttled=0.03, unavailable=0.03, broken=0.03)


@dataclass(frozen=True)
class Base:
    """What all roads of this file share: a served library, the environment set to it, and where their homes lie."""

    folder: Path
    environment: Mapping[str, str]
    forking: multiprocessing.context.ForkServerContext

    def killer(self, name: str) -> Killer:
        """Of a new home's road."""
        home = self.folder / name
        home.mkdir()
        environment = {**self.environment, "BOOK_SEARCH_HOME": str(home)}
        return Killer(self.forking, environment, home, random.Random(f"{SEED} {name}"))


@pytest.fixture(scope="session")
def base(open_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    folder = open_folder / "killed"
    folder.mkdir()
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([killed_run.__name__])
    library = plan_library(seed=7, kept=40, dropped=60)
    with SampleServer(content_of(library, tmp_path_factory.mktemp("drawn"), size=(60, 90)), FAULTS) as server:
        settings = {
            "MODEL": str(save_random_clip(folder / "model")),
            "REQUESTS_PER_MINUTE": "100000",
            "PACE_FOLDER": os.environ["BOOK_SEARCH_PACE_FOLDER"],
            **dict.fromkeys(("OPEN_LIBRARY_URL", "COVERS_URL", "ARCHIVE_URL"), server.url),
        }
        environment = {f"BOOK_SEARCH_{name}": value for name, value in settings.items()}
        yield Base(folder, environment | {"OMP_NUM_THREADS": "1"}, forking)


def state_of(home: Path) -> dict[str, object]:
    """All that a road's end is judged by: files, tables, and what Dagster believes to be going on."""
    with database(None, home) as dsn:
        tables = rows_of(dsn)
    return {"files": files_of(home), "tables": tables, "held": held_of(home / "dagster")}


@pytest.fixture(scope="session")
def undisturbed(base: Base) -> dict[str, object]:
    killer = base.killer("undisturbed")
    assert killer.run() == 0, killer.output.read_text()
    return state_of(killer.home)
